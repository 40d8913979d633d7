/**
 * A user as Postgres sends it: a row in the binary format that has not been parsed.
 *
 * Most users go from the table to a client unchanged, so the encoder (rpc/user-codec.ts) copies the cells into the
 * message. Code that needs values reads single cells, or decodes the user.
 */
import type { User } from './user.js';

/** A row with the cells of a user first. Each cell is its length in four bytes, and its content. */
export interface StoredUser {
  readonly bytes: Buffer;
  /** The offset of the first cell. */
  readonly start: number;
  readonly end: number;
}

/** A copy that does not keep the other rows of its buffer in memory. */
export function copyOfRow({ bytes, start, end }: StoredUser): StoredUser {
  const copy = Buffer.from(bytes.subarray(start, end));
  return { bytes: copy, start: 0, end: copy.length };
}

/** A user in either form, for code that only passes it on. */
export type AnyUser = User | StoredUser;

export function isStored(user: AnyUser): user is StoredUser {
  return 'bytes' in user;
}

/** The position of each cell in the row. */
export const storedCells = {
  id: 0,
  firstName: 1,
  lastName: 2,
  email: 3,
  profileImageUrl: 4,
  attributes: 5,
  createTime: 6,
  updateTime: 7,
  version: 8,
} as const satisfies Record<keyof User, number>;

/** The position of the first cell after those of the user. */
export const cellAfterUser = Object.keys(storedCells).length;

/** The size of the length before each cell. */
export const lengthBytes = 4;

/** Reads a big-endian integer of 32 bits. Buffer's method takes three times as long because it checks its arguments. */
export function readInt32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
}

/** The offset of a cell's length. */
function cellAt({ bytes, start }: StoredUser, position: number): number {
  let at = start;
  for (let cell = 0; cell < position; cell++) at += lengthBytes + readInt32(bytes, at);
  return at;
}

/** Reads a cell of text. */
export function storedText(row: StoredUser, position: number): string {
  const at = cellAt(row, position);
  const content = at + lengthBytes;
  return row.bytes.toString('utf8', content, content + readInt32(row.bytes, at));
}

/** Reads a cell with an integer of 32 bits. */
export function storedInteger(row: StoredUser, position: number): number {
  return readInt32(row.bytes, cellAt(row, position) + lengthBytes);
}

const hexDigits = Buffer.from('0123456789abcdef');
const dash = 0x2d;
export const uuidCharacters = 36;

/** Writes the 16 bytes of a UUID as text into `target`. */
export function writeUuid(bytes: Uint8Array, from: number, target: Uint8Array, at: number): void {
  let end = at;
  for (let index = 0; index < 16; index++) {
    // Dashes follow the bytes 3, 5, 7 and 9.
    if (index === 4 || index === 6 || index === 8 || index === 10) target[end++] = dash;
    const byte = bytes[from + index] ?? 0;
    target[end++] = hexDigits[byte >> 4] ?? 0;
    target[end++] = hexDigits[byte & 15] ?? 0;
  }
}

const uuidText = Buffer.alloc(uuidCharacters);

export function storedId({ bytes, start }: StoredUser): string {
  writeUuid(bytes, start + lengthBytes, uuidText, 0);
  return uuidText.toString('latin1');
}

// Postgres counts microseconds from the year 2000.
const epochMs = 946_684_800_000;
// Up to 285 years before or after that, the microseconds are an exact number.
const exactHighHalfMax = 2 ** 21;

/** The milliseconds since 1970 of a time in eight bytes. */
export function millisecondsAt(bytes: Buffer, at: number): number {
  const high = readInt32(bytes, at);
  if (high >= -exactHighHalfMax && high < exactHighHalfMax) {
    return epochMs + (high * 2 ** 32 + (readInt32(bytes, at + 4) >>> 0)) / 1000;
  }
  return epochMs + Number(bytes.readBigInt64BE(at) / 1000n);
}

export function storedTime(row: StoredUser, position: number): Date {
  return new Date(millisecondsAt(row.bytes, cellAt(row, position) + lengthBytes));
}

// The first byte of a jsonb is the version of its format, and the rest is its text.
export const jsonbVersionBytes = 1;

/** The offsets of the JSON text of the attributes. */
export function attributesAt(user: StoredUser): { readonly from: number; readonly to: number } {
  const at = cellAt(user, storedCells.attributes);
  const from = at + lengthBytes + jsonbVersionBytes;
  return { from, to: at + lengthBytes + readInt32(user.bytes, at) };
}

export function attributesBytesOf(user: StoredUser): number {
  const { from, to } = attributesAt(user);
  return to - from;
}

/** The number of JSON values in the attributes, including objects and lists. For short attributes, an upper bound. */
export function attributeValuesMax(user: StoredUser): number {
  const { from, to } = attributesAt(user);
  // A value takes at least two bytes.
  return to - from < countedBytesMin ? (to - from) / 2 : countValues(user.bytes, from, to);
}

const countedBytesMin = 256;

const quote = 0x22;
const comma = 0x2c;
const backslash = 0x5c;

/** Counts the values of a valid JSON text. */
function countValues(json: Uint8Array, from: number, to: number): number {
  let count = 1;
  for (let at = from; at < to; at++) {
    const byte = json[at] ?? 0;
    if (byte === comma) count++;
    else if (byte === quote) at = stringEnd(json, at);
    // { and [ have a first value, unless } or ] follows.
    else if ((byte | 0x20) === 0x7b && ((json[at + 1] ?? 0) | 0x20) !== 0x7d) count++;
  }
  return count;
}

/** The offset of the quote that ends the string that begins at `at`. */
export function stringEnd(json: Uint8Array, at: number): number {
  let end = at + 1;
  while (json[end] !== quote) end += json[end] === backslash ? 2 : 1;
  return end;
}
