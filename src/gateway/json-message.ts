/**
 * Reads one JSON message. It checks the bytes in one linear pass before it parses them, because JSON.parse and protobuf
 * cost up to a hundred times as much for each byte.
 *
 * Errors never repeat what was sent.
 */
import { isUtf8 } from 'node:buffer';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonValue,
  type Registry,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf';
import { hasInexactNumber, inexactNumberText, parseJson } from '../json.js';
import { Fault, invalid } from '../model/fault.js';

/** How deep objects and lists of a JSON message may be nested. */
const jsonLevelsMax = 100;
/**
 * How many elements a JSON message may have: objects, lists, and the commas in them. If all are objects with unique
 * keys, parsing them blocks the event loop for up to 50 ms.
 */
const jsonElementsMax = 25_000;

// Parsing fewer bytes than these takes less than a millisecond.
const smallBytes = 16 * 1024;

/** Returns the protobuf bytes. Throws a Fault if the message is not JSON of this type, or is too expensive to read. */
export async function readJsonMessage(type: DescMessage, bytes: Buffer, registry: Registry): Promise<Uint8Array> {
  if (!isUtf8(bytes)) throw invalidRequest('The request is not valid UTF-8.');
  checkJson(bytes);
  await unblock(bytes);
  const json = parse(bytes);
  await unblock(bytes);
  const options = { registry, ignoreUnknownFields: true };
  const message = decode(() => fromJson(type, json, options));
  if (message === undefined) throw await wrongField(type, json, registry);
  await unblock(bytes);
  return toBinary(type, message);
}

/** An empty path is the request itself. */
export function invalidRequest(description: string): Fault {
  return new Fault('INVALID_FIELD', description, [{ field: '', description }]);
}

/** Yields to other calls between the steps for a large message. */
async function unblock({ length }: Uint8Array): Promise<void> {
  if (length > smallBytes) await nextTurn();
}

const byteOrderMark = /^\ufeff/;

function parse(bytes: Buffer): JsonValue {
  const text = bytes.toString('utf8').replace(byteOrderMark, '');
  if (hasInexactNumber(text)) throw invalidRequest(inexactNumberText);
  try {
    return parseJson(text) as JsonValue;
  } catch {
    throw invalidRequest('The request is not valid JSON.');
  }
}

const quote = 0x22;
const backslash = 0x5c;
const comma = 0x2c;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** Limits depth and elements, and refuses unpaired surrogate escapes, which protobuf would replace by U+FFFD. */
function checkJson(bytes: Buffer): void {
  let level = 0;
  let elements = 0;
  let isInText = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (isInText) {
      if (byte === quote) isInText = false;
      else if (byte === backslash) at += escapeBytes(bytes, at) - 1;
    } else if (byte === quote) {
      isInText = true;
    } else if (byte === openBracket || byte === openBrace) {
      elements++;
      if (++level > jsonLevelsMax) {
        throw invalidRequest(`The request must nest objects and lists at most ${jsonLevelsMax} levels deep.`);
      }
    } else if (byte === closeBracket || byte === closeBrace) {
      level--;
    } else if (byte === comma) {
      elements++;
    }
    if (elements > jsonElementsMax) {
      throw invalidRequest(
        `The request must have at most ${jsonElementsMax} JSON elements. Send less in one request, or use a binary protocol.`,
      );
    }
  }
}

/** The number of bytes of an escape that are only text, counted from its backslash. */
function escapeBytes(bytes: Buffer, at: number): number {
  const half = escapedHalf(bytes, at);
  // The digits of other escapes are ordinary text.
  if (half === undefined) return 2;
  if (half === 'first' && escapedHalf(bytes, at + 6) === 'second') return 12;
  throw invalidRequest('The request has an unpaired surrogate in a \\u escape.');
}

/** Whether an escape like \ud83d is the first or the second half of a surrogate pair. */
function escapedHalf(bytes: Buffer, at: number): 'first' | 'second' | undefined {
  if (bytes[at] !== backslash || bytes[at + 1] !== letterU || lowerCase(bytes[at + 2]) !== letterD) return undefined;
  const digit = lowerCase(bytes[at + 3]);
  if (digit >= letterC && digit <= letterF) return 'second';
  return digit >= digit8 ? 'first' : undefined;
}

const letterU = 0x75;
const letterC = 0x63;
const letterD = 0x64;
const letterF = 0x66;
const digit8 = 0x38;

/** Lowers a letter. Digits do not change. */
function lowerCase(byte = 0): number {
  return byte | 0x20;
}

function decode<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** Names the field that cannot be read. */
async function wrongField(type: DescMessage, json: JsonValue, registry: Registry): Promise<Fault> {
  const found = await findWrongField(type, json, registry);
  if (found === undefined) return invalidRequest(`The request is not valid JSON for ${type.typeName}.`);
  return invalid([{ field: found.path, description: expectation(found.field) }]);
}

interface WrongField {
  readonly path: string;
  readonly field: DescField;
}

/** Reads each part by itself until one fails, and then searches in that part. */
async function findWrongField(type: DescMessage, json: JsonValue, registry: Registry): Promise<WrongField | undefined> {
  // Messages of google.protobuf have their own JSON formats.
  if (!isObject(json) || type.typeName.startsWith('google.protobuf.')) return undefined;
  const isWrong = (part: JsonValue) =>
    decode(() => fromJson(type, part, { registry, ignoreUnknownFields: true })) === undefined;
  for (const [key, value] of Object.entries(json)) {
    const field = type.fields.find(({ name, jsonName }) => name === key || jsonName === key);
    if (field === undefined || !isWrong({ [key]: value })) continue;
    await nextTurn();
    if (field.fieldKind === 'list' && Array.isArray(value)) {
      const index = value.findIndex((item) => isWrong({ [key]: [item] }));
      if (index < 0) return { path: field.name, field };
      await nextTurn();
      return inside(`${field.name}[${index}]`, field, value[index], registry);
    }
    return inside(field.name, field, value, registry);
  }
  return undefined;
}

async function inside(
  path: string,
  field: DescField,
  json: JsonValue | undefined,
  registry: Registry,
): Promise<WrongField> {
  const isMessage = field.fieldKind === 'message' || (field.fieldKind === 'list' && field.listKind === 'message');
  const inner = isMessage && json !== undefined ? await findWrongField(field.message, json, registry) : undefined;
  return inner === undefined ? { path, field } : { path: `${path}.${inner.path}`, field: inner.field };
}

function isObject(json: JsonValue): json is { [key: string]: JsonValue } {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

/** Describes the JSON that a field accepts. */
function expectation(field: DescField): string {
  const isList = field.fieldKind === 'list';
  const prefix = isList ? 'must be a list, each item of which is' : 'must be';
  const kind = isList ? field.listKind : field.fieldKind;
  if (kind === 'map') return 'must be an object';
  if (kind === 'enum') return `${prefix} the name or the number of a value of ${field.enum?.typeName}`;
  if (kind === 'message') return `${prefix} JSON for ${field.message?.typeName}`;
  return `${prefix} ${scalarJson(field.scalar)}`;
}

function scalarJson(scalar: ScalarType | undefined): string {
  switch (scalar) {
    case ScalarType.STRING:
      return 'a string';
    case ScalarType.BOOL:
      return 'true or false';
    case ScalarType.BYTES:
      return 'a string in base64';
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return 'a number';
    default:
      return 'a whole number in the range of its type';
  }
}
