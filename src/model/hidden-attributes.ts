/** Finds and removes the keys of attributes that a caller must not see. */
import type { Filter, Operand } from './filter.js';
import {
  type AnyUser,
  attributesAt,
  isStored,
  jsonbVersionBytes,
  lengthBytes,
  type StoredUser,
  stringEnd,
} from './stored-user.js';
import type { User } from './user.js';

/** Returns one of the keys if the filter mentions it. */
export function hiddenKeyIn(filter: Filter, hidden: ReadonlySet<string>): string | undefined {
  const find = (operand: Operand) => {
    const key = operand.kind === 'attribute' ? operand.path[0] : undefined;
    return key !== undefined && hidden.has(key) ? key : undefined;
  };
  switch (filter.kind) {
    case 'and':
    case 'or':
      for (const term of filter.terms) {
        const key = hiddenKeyIn(term, hidden);
        if (key !== undefined) return key;
      }
      return undefined;
    case 'not':
      return hiddenKeyIn(filter.term, hidden);
    case 'compare':
    case 'match':
      return find(filter.left) ?? find(filter.right);
    case 'member':
      return find(filter.left);
    case 'element':
      return find(filter.list);
    case 'has':
      return find(filter.attribute);
  }
}

/** Returns the same object if the user has none of the keys. Never changes `user`, which others may share. */
export function withoutAttributes<T extends AnyUser>(user: T, hidden: ReadonlySet<string>): T;
export function withoutAttributes(user: AnyUser, hidden: ReadonlySet<string>): AnyUser {
  return isStored(user) ? withoutStoredKeys(user, hidden) : withoutKeys(user, hidden);
}

function withoutKeys(user: User, hidden: ReadonlySet<string>): User {
  const entries = Object.entries(user.attributes);
  const visible = entries.filter(([key]) => !hidden.has(key));
  return visible.length === entries.length ? user : { ...user, attributes: Object.fromEntries(visible) };
}

const quote = 0x22;
const comma = 0x2c;
const backslash = 0x5c;
const openObject = 0x7b;

/** Copies the other entries as they are, so that numbers keep all their digits. */
function withoutStoredKeys(user: StoredUser, hidden: ReadonlySet<string>): StoredUser {
  const { bytes } = user;
  const { from, to } = attributesAt(user);
  // The encoder omits any other JSON than an object.
  if (bytes[from] !== openObject) return user;
  const kept: string[] = [];
  const end = to - 1;
  let entries = 0;
  for (let at = nextQuote(bytes, from, end); at < end; entries++) {
    const keyEnd = stringEnd(bytes, at) + 1;
    const entryEnd = valueEnd(bytes, keyEnd, end);
    if (!hidden.has(keyOf(bytes, at, keyEnd))) kept.push(bytes.toString('utf8', at, entryEnd));
    at = nextQuote(bytes, entryEnd, end);
  }
  return kept.length === entries ? user : withJson(user, `{${kept.join(', ')}}`);
}

function nextQuote(json: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && json[at] !== quote) at++;
  return at;
}

/** The offset of the comma after the value, or of the end of the object. */
function valueEnd(json: Buffer, from: number, end: number): number {
  let levels = 0;
  let at = from;
  for (; at < end; at++) {
    const byte = json[at] ?? 0;
    if (byte === quote) at = stringEnd(json, at);
    else if (byte === comma && levels === 0) break;
    // The codes of { and [ differ in one bit, and so do those of } and ].
    else if ((byte | 0x20) === 0x7b) levels++;
    else if ((byte | 0x20) === 0x7d) levels--;
  }
  return at;
}

/** The key between two quotes. */
function keyOf(json: Buffer, from: number, to: number): string {
  const text = json.toString('utf8', from, to);
  return json.subarray(from, to).includes(backslash) ? JSON.parse(text) : text.slice(1, -1);
}

/** A copy of the row with another text of the attributes. */
function withJson(user: StoredUser, json: string): StoredUser {
  const { from, to } = attributesAt(user);
  const content = from - jsonbVersionBytes;
  const length = Buffer.alloc(lengthBytes);
  length.writeInt32BE(jsonbVersionBytes + Buffer.byteLength(json));
  const bytes = Buffer.concat([
    user.bytes.subarray(user.start, content - lengthBytes),
    length,
    user.bytes.subarray(content, from),
    Buffer.from(json),
    user.bytes.subarray(to, user.end),
  ]);
  return { bytes, start: 0, end: bytes.length };
}
