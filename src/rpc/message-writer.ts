/**
 * Writes protobuf messages into one buffer that it reuses, which saves objects and a copy. It knows the wire format,
 * but not the messages.
 *
 * Encoding is synchronous, so it writes at most one message at a time. It supports only field numbers up to 15, which
 * have tags of one byte.
 */
import { uuidCharacters, writeUuid } from '../model/stored-user.js';

// Enough for a page of users. A larger message gets a larger buffer, which is not reused.
const bufferBytes = 256 * 1024;

const reusedBuffer = Buffer.allocUnsafeSlow(bufferBytes);
let buffer = reusedBuffer;
let end = 0;

/** Encodes a message with `write`. The result must be copied before the next message is encoded. */
export function encodeWith<Message>(write: (message: Message) => void, message: Message): Uint8Array {
  buffer = reusedBuffer;
  end = 0;
  write(message);
  return buffer.subarray(0, end);
}

function reserve(bytes: number): void {
  if (end + bytes <= buffer.length) return;
  const larger = Buffer.allocUnsafeSlow(2 * (end + bytes));
  buffer.copy(larger, 0, 0, end);
  buffer = larger;
}

// The maximum size of a number of 64 bits.
const varintBytesMax = 10;

function putVarint(value: number): void {
  let rest = value;
  while (rest > 0x7fff_ffff) {
    buffer[end++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  while (rest > 0x7f) {
    buffer[end++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  buffer[end++] = rest;
}

const wireVarint = 0;
const wireFixed64 = 1;
const wireBytes = 2;

/** Writes a whole number from 0 to 2 ** 53. */
export function putNumber(field: number, value: number): void {
  reserve(1 + varintBytesMax);
  buffer[end++] = (field << 3) | wireVarint;
  putVarint(value);
}

/** Writes an int64 or int32 that may be negative. */
export function putSigned(field: number, value: number): void {
  if (value >= 0) {
    putNumber(field, value);
    return;
  }
  reserve(1 + varintBytesMax);
  buffer[end++] = (field << 3) | wireVarint;
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 0x7fn; rest >>= 7n) buffer[end++] = Number(rest & 0x7fn) | 0x80;
  buffer[end++] = Number(rest);
}

export function putDouble(field: number, value: number): void {
  reserve(9);
  buffer[end++] = (field << 3) | wireFixed64;
  end = buffer.writeDoubleLE(value, end);
}

// Up to about this length, a loop in JavaScript is faster than Buffer's C++ code.
const loopCharactersMax = 40;

/** Writes a well-formed string, even an empty one. */
export function putText(field: number, text: string): void {
  reserve(1 + varintBytesMax + 3 * text.length);
  buffer[end++] = (field << 3) | wireBytes;
  if (text.length > loopCharactersMax) {
    const bytes = Buffer.byteLength(text);
    putVarint(bytes);
    buffer.write(text, end, bytes, 'utf8');
    end += bytes;
    return;
  }
  // Even 40 characters of three bytes each take less than 128 bytes, so the length takes one byte.
  const start = end++;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit > 0x7f) {
      end += buffer.write(text.slice(index), end, 'utf8');
      break;
    }
    buffer[end++] = unit;
  }
  buffer[start] = end - start - 1;
}

/** Writes a part of `source`, which is UTF-8 if the field is a string, even an empty part. */
export function putSlice(field: number, source: Buffer, from: number, to: number): void {
  reserve(1 + varintBytesMax);
  buffer[end++] = (field << 3) | wireBytes;
  putVarint(to - from);
  appendSlice(source, from, to);
}

/** Appends bytes to the nested message that has begun. */
export function appendSlice(source: Buffer, from: number, to: number): void {
  reserve(to - from);
  if (to - from > loopCharactersMax) {
    end += source.copy(buffer, end, from, to);
    return;
  }
  // Variables of the module are slower than local ones.
  const target = buffer;
  let next = end;
  for (let at = from; at < to; at++) target[next++] = source[at] ?? 0;
  end = next;
}

/** Appends a byte to the nested message that has begun. */
export function appendByte(byte: number): void {
  reserve(1);
  buffer[end++] = byte;
}

const digits = Buffer.from('0123456789abcdefghijklmnopqrstuvwxyz');
const minus = 0x2d;
// The digits of 2 ** 53 and a sign.
const base36BytesMax = 12;

/** Appends a whole number in base 36, as `toString(36)` writes it, to the nested message that has begun. */
export function appendBase36(value: number): void {
  reserve(base36BytesMax);
  if (value < 0) buffer[end++] = minus;
  let rest = Math.abs(value);
  for (let limit = 36; limit <= rest; limit *= 36) end++;
  let at = end++;
  while (rest > 0x7fff_ffff) {
    const next = Math.floor(rest / 36);
    buffer[at--] = digits[rest - 36 * next] ?? 0;
    rest = next;
  }
  for (; rest > 35; rest = (rest / 36) | 0) buffer[at--] = digits[rest % 36] ?? 0;
  buffer[at] = digits[rest] ?? 0;
}

/** Writes the text of a UUID from its 16 bytes. */
export function putUuid(field: number, source: Uint8Array, from: number): void {
  reserve(2 + uuidCharacters);
  buffer[end++] = (field << 3) | wireBytes;
  buffer[end++] = uuidCharacters;
  writeUuid(source, from, buffer, end);
  end += uuidCharacters;
}

export function putBytes(field: number, bytes: Uint8Array): void {
  reserve(1 + varintBytesMax + bytes.length);
  buffer[end++] = (field << 3) | wireBytes;
  putVarint(bytes.length);
  buffer.set(bytes, end);
  end += bytes.length;
}

/** Writes fields that are already encoded. */
export function putEncoded(fields: Uint8Array): void {
  reserve(fields.length);
  buffer.set(fields, end);
  end += fields.length;
}

/** Writes a nested message. */
export function putMessage(field: number, write: () => void): void {
  const mark = beginMessage(field);
  write();
  endMessage(mark);
}

/** Begins a nested message, and returns a mark for `endMessage`. A good `bytesGuess` saves a copy of the content. */
export function beginMessage(field: number, bytesGuess = 0): number {
  reserve(3);
  buffer[end++] = (field << 3) | wireBytes;
  const mark = end;
  end += bytesGuess > 0x7f ? 2 : 1;
  // The offset of the content, for `endMessage`.
  buffer[mark] = end - mark;
  return mark;
}

export function endMessage(mark: number): void {
  const start = mark + (buffer[mark] ?? 0);
  const bytes = end - start;
  const prefix = bytes <= 0x7f ? 1 : bytes <= 0x3fff ? 2 : bytes <= 0x1f_ffff ? 3 : 4;
  if (mark + prefix !== start) {
    reserve(prefix);
    buffer.copyWithin(mark + prefix, start, end);
  }
  end = mark;
  putVarint(bytes);
  end += bytes;
}
