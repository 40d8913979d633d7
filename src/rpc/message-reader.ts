/**
 * Reads protobuf messages in one pass into the objects that the model's parsers accept. It knows the wire format, but
 * not the messages.
 *
 * It refuses malformed bytes and invalid UTF-8. To limit the cost of a request, it counts elements and fields, and
 * refuses a request that has too many. Decoding is synchronous, so it reads at most one message at a time. The file is
 * longer than others because its functions share the position in that message.
 */
import { type Fault, invalid, invalidRequest, type Violation } from '../model/fault.js';
import { type ElementKind, type ElementLimits, fieldsOfElement, requestFieldsMax } from '../model/method-limits.js';
import { attributesLevelsMax } from '../model/user.js';

const wireVarint = 0;
const wireFixed64 = 1;
const wireBytes = 2;
const wireStartGroup = 3;
const wireEndGroup = 4;
const wireFixed32 = 5;

/** Reads the value of one field into the message, after its tag. The value must not extend past `end`. */
type Read<Message> = (message: Message, end: number) => void;

export interface Field<Message> {
  readonly tag: number;
  readonly read: Read<Message>;
}

/** A type of message. The reader skips fields that it does not list. */
export interface Shape<Message> {
  create(): Message;
  /** Reads fields up to `end` and merges them into the message. */
  merge(message: Message, end: number): void;
}

export function shape<Message>(create: () => Message, ...fields: readonly Field<Message>[]): Shape<Message> {
  // Indexed by tag. As protobuf requires, a known field with another wire type counts as unknown.
  const reads: (Read<Message> | undefined)[] = new Array(1 + Math.max(0, ...fields.map(({ tag }) => tag))).fill(
    undefined,
  );
  for (const { tag, read } of fields) reads[tag] = read;
  return {
    create,
    merge(message, end) {
      while (position < end) {
        const tag = readTag(end);
        const read = reads[tag];
        if (read === undefined) skip(tag, end);
        else read(message, end);
      }
    },
  };
}

const noBytes: Buffer = Buffer.alloc(0);
let buffer = noBytes;
let position = 0;
let fieldCount = 0;
let fieldsMax = 0;
let limits: ElementLimits = {};
const counts: Record<ElementKind, number> = { users: 0, values: 0, keys: 0, paths: 0 };
// The index for violations of attributes, as in `users[57].attributes`.
let userIndex: number | undefined;

/** Throws a Fault if the bytes are not a message of this shape, or if they exceed a limit. */
export function readMessage<Message>(type: Shape<Message>, bytes: Uint8Array, elementLimits: ElementLimits): Message {
  buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  position = 0;
  fieldCount = 0;
  fieldsMax = requestFieldsMax;
  limits = elementLimits;
  counts.users = counts.values = counts.keys = counts.paths = 0;
  userIndex = undefined;
  const message = type.create();
  try {
    type.merge(message, bytes.length);
  } finally {
    // Do not keep the request: it contains personal data, and may have 4 MiB.
    buffer = noBytes;
  }
  return message;
}

/** A string. If the field occurs several times, the last value is used. */
export function text<Name extends string>(number: number, name: Name): Field<Record<Name, string | undefined>> {
  return {
    tag: (number << 3) | wireBytes,
    read(message, end) {
      message[name] = readText(end);
    },
  };
}

/** A repeated string. `violationOf` returns the violation for more elements of this kind than the method allows. */
export function texts<Name extends string>(
  number: number,
  name: Name,
  kind: ElementKind,
  violationOf: (max: number) => Violation,
): Field<Record<Name, string[]>> {
  return {
    tag: (number << 3) | wireBytes,
    read(message, end) {
      count(kind, violationOf);
      message[name].push(readText(end));
    },
  };
}

export function bool<Name extends string>(number: number, name: Name): Field<Record<Name, boolean>> {
  return {
    tag: (number << 3) | wireVarint,
    read(message, end) {
      message[name] = readVarint(end) !== 0;
    },
  };
}

/** An int32 or an enum. As protobuf requires, only the lowest 32 bits count. */
export function int32<Name extends string>(number: number, name: Name): Field<Record<Name, number>> {
  return {
    tag: (number << 3) | wireVarint,
    read(message, end) {
      message[name] = Number(BigInt.asIntN(32, readVarintBits(end)));
    },
  };
}

/** An int64 as a number, which is inexact beyond 2 ** 53. */
export function int64<Name extends string>(number: number, name: Name): Field<Record<Name, number | undefined>> {
  return {
    tag: (number << 3) | wireVarint,
    read(message, end) {
      message[name] = Number(BigInt.asIntN(64, readVarintBits(end)));
    },
  };
}

/** A message. If the field occurs several times, its occurrences are merged. */
export function message<Name extends string, Inner>(
  number: number,
  name: Name,
  inner: Shape<Inner>,
): Field<Record<Name, Inner | undefined>> {
  return {
    tag: (number << 3) | wireBytes,
    read(outer, end) {
      const innerEnd = readEnd(end);
      const merged = outer[name] ?? inner.create();
      outer[name] = merged;
      inner.merge(merged, innerEnd);
    },
  };
}

/** The repeated message `users`. */
export function users<User>(number: number, user: Shape<User>): Field<{ users: User[] }> {
  return {
    tag: (number << 3) | wireBytes,
    read(outer, end) {
      userIndex = counts.users;
      count('users', (max) => ({ field: 'users', description: `must have at most ${max} users` }));
      const userEnd = readEnd(end);
      const one = user.create();
      user.merge(one, userEnd);
      outer.users.push(one);
    },
  };
}

/** A google.protobuf.FieldMask, as the list of its paths. */
export function fieldMask(number: number): Field<{ updateMask: string[] }> {
  const mask = shape(
    (): { paths: string[] } => ({ paths: [] }),
    texts(1, 'paths', 'paths', (max) => ({ field: 'update_mask', description: `must have at most ${max} paths` })),
  );
  return {
    tag: (number << 3) | wireBytes,
    read({ updateMask }, end) {
      mask.merge({ paths: updateMask }, readEnd(end));
    },
  };
}

/** A value in attributes. A google.protobuf.Value without a kind is undefined, which the parsers refuse. */
export type ReadValue = string | number | boolean | null | undefined | ReadValue[] | ReadObject;
export type ReadObject = { [key: string]: ReadValue };

/** The singular field `attributes`, a google.protobuf.Struct. */
export function attributes(number: number): Field<{ attributes: ReadObject | undefined }> {
  return {
    tag: (number << 3) | wireBytes,
    read(user, end) {
      const structEnd = readEnd(end);
      user.attributes ??= {};
      readStruct(user.attributes, structEnd, 1);
    },
  };
}

// The fields of google.protobuf.Struct, its map entries, ListValue and Value.
const entryTag = (1 << 3) | wireBytes;
const keyTag = (1 << 3) | wireBytes;
const valueTag = (2 << 3) | wireBytes;
const listItemTag = (1 << 3) | wireBytes;
const nullTag = (1 << 3) | wireVarint;
const numberTag = (2 << 3) | wireFixed64;
const stringTag = (3 << 3) | wireBytes;
const boolTag = (4 << 3) | wireVarint;
const structTag = (5 << 3) | wireBytes;
const listTag = (6 << 3) | wireBytes;

function readStruct(object: ReadObject, end: number, level: number): void {
  while (position < end) {
    const tag = readTag(end);
    if (tag === entryTag) readEntry(object, readEnd(end), level);
    else skip(tag, end);
  }
}

/** Reads one key and its value. It replaces an earlier entry with the same key. Values within an entry are merged. */
function readEntry(object: ReadObject, end: number, level: number): void {
  let key = '';
  let value: ReadValue;
  count('values', tooManyValues);
  while (position < end) {
    const tag = readTag(end);
    if (tag === keyTag) key = readText(end);
    else if (tag === valueTag) value = readValue(value, readEnd(end), level + 1);
    else skip(tag, end);
  }
  // Assigning to the key __proto__ would set the prototype.
  if (key !== '__proto__') object[key] = value;
  else Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

/** Reads a google.protobuf.Value. `earlier` is the value of earlier occurrences of the same field. */
function readValue(earlier: ReadValue, end: number, level: number): ReadValue {
  let value = earlier;
  while (position < end) {
    const tag = readTag(end);
    switch (tag) {
      case nullTag:
        readVarint(end);
        value = null;
        break;
      case numberTag:
        value = readDouble(end);
        break;
      case stringTag:
        value = readText(end);
        break;
      case boolTag:
        value = readVarint(end) !== 0;
        break;
      case structTag: {
        const object: ReadObject = isObject(value) ? value : {};
        const structEnd = readEnd(end);
        // Skip the content of a value that is nested too deeply, because the parsers refuse such a value anyway.
        if (level > attributesLevelsMax) position = structEnd;
        else readStruct(object, structEnd, level);
        value = object;
        break;
      }
      case listTag: {
        const list: ReadValue[] = Array.isArray(value) ? value : [];
        const listEnd = readEnd(end);
        if (level > attributesLevelsMax) position = listEnd;
        else readList(list, listEnd, level);
        value = list;
        break;
      }
      default:
        skip(tag, end);
    }
  }
  return value;
}

function readList(list: ReadValue[], end: number, level: number): void {
  while (position < end) {
    const tag = readTag(end);
    if (tag !== listItemTag) {
      skip(tag, end);
      continue;
    }
    count('values', tooManyValues);
    list.push(readValue(undefined, readEnd(end), level + 1));
  }
}

function isObject(value: ReadValue): value is ReadObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function count(kind: ElementKind, violationOf: (max: number) => Violation): void {
  const max = limits[kind] ?? 0;
  if (++counts[kind] > max) throw invalid([violationOf(max)]);
  fieldsMax += fieldsOfElement[kind];
}

function tooManyValues(max: number): Violation {
  if (userIndex === undefined) return { field: 'user.attributes', description: `must have at most ${max} values` };
  const description = `must have at most ${max} values in the attributes of all users together`;
  return { field: `users[${userIndex}].attributes`, description };
}

// A tag has 32 bits. The highest 29 are the field's number.
const tagMax = 0xffff_ffff;

function readTag(end: number): number {
  if (++fieldCount > fieldsMax) {
    throw invalidRequest('The request has too many repeated or unknown fields.');
  }
  const tag = readVarint(end);
  if (tag > tagMax || tag < 1 << 3) throw malformed();
  return tag;
}

/** Reads the length of a value, and returns the position of its end. */
function readEnd(end: number): number {
  const valueEnd = readVarint(end) + position;
  if (valueEnd > end) throw malformed();
  return valueEnd;
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function readText(end: number): string {
  const textEnd = readEnd(end);
  const start = position;
  position = textEnd;
  const decoded = buffer.toString('utf8', start, textEnd);
  // Buffer replaces invalid UTF-8 by U+FFFD, which valid text may also contain. Only for such text use the strict
  // decoder, which takes twice as long.
  return decoded.includes('\ufffd') ? strictUtf8.decode(buffer.subarray(start, textEnd)) : decoded;
}

function readDouble(end: number): number {
  const start = position;
  position += 8;
  if (position > end) throw malformed();
  // Converts -0 to 0, as jsonb does, so that the response of a create has the same value as later reads.
  return buffer.readDoubleLE(start) + 0;
}

/** Reads an unsigned number. A number above 2 ** 53 is inexact, but stays above it. */
function readVarint(end: number): number {
  // Most numbers in a request are tags and lengths of one byte.
  const first = buffer[position] ?? 0;
  if (first < 0x80 && position < end) {
    position++;
    return first;
  }
  let factor = 1;
  let value = 0;
  for (let index = position; index < end; factor *= 128) {
    const byte = buffer[index++] ?? 0;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) {
      position = index;
      return value;
    }
    // A 64-bit number takes at most ten bytes.
    if (index - position === 10) break;
  }
  throw malformed();
}

function readVarintBits(end: number): bigint {
  const start = position;
  const value = readVarint(end);
  if (value <= Number.MAX_SAFE_INTEGER) return BigInt(value);
  let bits = 0n;
  for (let index = position - 1; index >= start; index--) bits = (bits << 7n) | BigInt((buffer[index] ?? 0) & 0x7f);
  return bits;
}

// The limit of Google's libraries.
const groupLevelsMax = 100;

/** Skips the value of an unknown field. */
function skip(tag: number, end: number, groupLevel = 0): void {
  switch (tag & 7) {
    case wireVarint:
      readVarint(end);
      return;
    case wireFixed64:
      position += 8;
      break;
    case wireBytes:
      position = readEnd(end);
      return;
    case wireStartGroup:
      skipGroup(tag, end, groupLevel + 1);
      return;
    case wireFixed32:
      position += 4;
      break;
    default:
      // The end of a group that has not begun, or a wire type that does not exist.
      throw malformed();
  }
  if (position > end) throw malformed();
}

function skipGroup(startTag: number, end: number, level: number): void {
  if (level > groupLevelsMax) throw malformed();
  const endTag = startTag - wireStartGroup + wireEndGroup;
  while (true) {
    const tag = readTag(end);
    if (tag === endTag) return;
    skip(tag, end, level);
  }
}

/** Returns the fault for bytes that are not a message. */
export function malformed(): Fault {
  return invalidRequest(
    'The request cannot be decoded. It must be a protobuf message of its type, with valid UTF-8 in its strings.',
  );
}
