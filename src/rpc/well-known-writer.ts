/** Writes the well-known types of protobuf that users contain: Timestamp, and Struct from an object or from JSON text. */
import type { JsonObject, JsonValue } from '../model/user.js';
import { beginMessage, endMessage, putDouble, putNumber, putSigned, putSlice, putText } from './message-writer.js';

/** Writes a google.protobuf.Timestamp from milliseconds since 1970. */
export function putTime(field: number, ms: number): void {
  const seconds = Math.floor(ms / 1000);
  const nanos = (ms - seconds * 1000) * 1_000_000;
  const mark = beginMessage(field);
  if (seconds !== 0) putSigned(1, seconds);
  if (nanos !== 0) putNumber(2, nanos);
  endMessage(mark);
}

/** Writes a google.protobuf.Struct. */
export function putStruct(field: number, object: JsonObject): void {
  const mark = beginMessage(field);
  for (const key of Object.keys(object)) {
    const entry = beginMessage(1);
    putText(1, key);
    putValue(2, object[key] ?? null);
    endMessage(entry);
  }
  endMessage(mark);
}

/** Writes a google.protobuf.Value, which must have a field even for a default such as 0. */
function putValue(field: number, value: JsonValue): void {
  const mark = beginMessage(field);
  switch (typeof value) {
    case 'number':
      putDouble(2, value);
      break;
    case 'string':
      putText(3, value);
      break;
    case 'boolean':
      putNumber(4, value ? 1 : 0);
      break;
    default:
      if (value === null) putNumber(1, 0);
      else if (Array.isArray(value)) {
        const list = beginMessage(6);
        for (const child of value) putValue(1, child);
        endMessage(list);
      } else putStruct(5, value);
  }
  endMessage(mark);
}

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const minus = 0x2d;
const zero = 0x30;
const nine = 0x39;
const backslash = 0x5c;
const openList = 0x5b;
const closeList = 0x5d;
const openObject = 0x7b;
const closeObject = 0x7d;
const firstOfTrue = 0x74;
const firstOfFalse = 0x66;
const firstOfNull = 0x6e;

/**
 * Writes the object that begins at `at` of a JSON text, without parsing the text into JavaScript objects first. The text
 * must be valid, as the text of a jsonb always is. Returns the offset after the object, like the functions below.
 */
export function putStructFromJson(field: number, json: Buffer, at: number): number {
  const mark = beginMessage(field);
  let next = tokenAfter(json, at);
  while (json[next] !== closeObject) {
    const entry = beginMessage(1);
    next = putTextFromJson(1, json, next);
    next = putValueFromJson(2, json, tokenAt(json, next));
    endMessage(entry);
    next = tokenAt(json, next);
  }
  endMessage(mark);
  return next + 1;
}

function putValueFromJson(field: number, json: Buffer, at: number): number {
  const mark = beginMessage(field);
  const next = putKindFromJson(json, at);
  endMessage(mark);
  return next;
}

function putKindFromJson(json: Buffer, at: number): number {
  switch (json[at]) {
    case quote:
      return putTextFromJson(3, json, at);
    case openObject:
      return putStructFromJson(5, json, at);
    case openList:
      return putListFromJson(6, json, at);
    case firstOfTrue:
      putNumber(4, 1);
      return at + 4;
    case firstOfFalse:
      putNumber(4, 0);
      return at + 5;
    case firstOfNull:
      putNumber(1, 0);
      return at + 4;
    default:
      return putDoubleFromJson(2, json, at);
  }
}

function putListFromJson(field: number, json: Buffer, at: number): number {
  const mark = beginMessage(field);
  let next = tokenAfter(json, at);
  while (json[next] !== closeList) next = tokenAt(json, putValueFromJson(1, json, next));
  endMessage(mark);
  return next + 1;
}

function putTextFromJson(field: number, json: Buffer, at: number): number {
  let end = at + 1;
  let hasEscapes = false;
  while (json[end] !== quote) {
    if (json[end] === backslash) {
      hasEscapes = true;
      end++;
    }
    end++;
  }
  if (hasEscapes) putText(field, JSON.parse(json.toString('utf8', at, end + 1)));
  else putSlice(field, json, at + 1, end);
  return end + 1;
}

// A longer integer may lose precision if it is built digit by digit.
const exactDigitsMax = 15;

function putDoubleFromJson(field: number, json: Buffer, at: number): number {
  const first = json[at] === minus ? at + 1 : at;
  let end = first;
  let value = 0;
  while (isDigit(json[end])) value = 10 * value + (json[end++] ?? 0) - zero;
  if (end - first <= exactDigitsMax && isEndOfNumber(json[end])) {
    putDouble(field, first === at ? value : -value);
    return end;
  }
  while (!isEndOfNumber(json[end])) end++;
  putDouble(field, Number(json.toString('latin1', at, end)));
  return end;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= zero && byte <= nine;
}

function isEndOfNumber(byte: number | undefined): boolean {
  return byte === undefined || byte === comma || byte === closeList || byte === closeObject || isSpace(byte);
}

/** The offset of the next token after the one-byte token at `at`. */
function tokenAfter(json: Buffer, at: number): number {
  return tokenAt(json, at + 1);
}

/** The offset of the next token other than a comma or a colon. */
function tokenAt(json: Buffer, at: number): number {
  let next = at;
  while (json[next] === comma || json[next] === colon || isSpace(json[next])) next++;
  return next;
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
