/** Encodes header blocks (HPACK, RFC 7541) without the dynamic table, so that a block means the same on each connection. */
import type { HeaderFields } from './header-decoder.js';
import { staticTable } from './static-table.js';

// An integer has at most this many bytes.
const integerBytes = 5;

/** The first bytes of a field: its whole encoding, or its name and no value. */
const indexedFields = new Map<string, number>();
const namePrefixes = new Map<string, Buffer>();
for (const [position, [name, value]] of staticTable.entries()) {
  if (value !== '') indexedFields.set(`${name}\0${value}`, position + 1);
  const prefix = Buffer.alloc(integerBytes);
  if (!namePrefixes.has(name)) namePrefixes.set(name, prefix.subarray(0, writeInteger(position + 1, 0x0f, prefix, 0)));
}
// Handlers may choose names. Most use few.
const namesMax = 1000;

/** At least the bytes that the encoded fields need. */
export function encodedBytesMax(fields: HeaderFields): number {
  let bytes = integerBytes * fields.length;
  for (const text of fields) bytes += text.length;
  return bytes;
}

/**
 * Writes the fields at an offset, and returns the end. There must be room for `encodedBytesMax(fields)`. The names must be
 * in lower case. Characters above U+00FF are cut to one byte.
 */
export function encodeFields(fields: HeaderFields, bytes: Buffer, from: number): number {
  let at = from;
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? '';
    const value = fields[index + 1] ?? '';
    const known = name.startsWith(':') ? indexedFields.get(`${name}\0${value}`) : undefined;
    if (known !== undefined) {
      bytes[at++] = 0x80 | known;
      continue;
    }
    const prefix = prefixOf(name);
    bytes.set(prefix, at);
    at = writeText(value, bytes, at + prefix.length);
  }
  return at;
}

/** A literal field that no table keeps (section 6.2.2), up to its value. */
function prefixOf(name: string): Buffer {
  const known = namePrefixes.get(name);
  if (known !== undefined) return known;
  const bytes = Buffer.alloc(1 + integerBytes + name.length);
  const prefix = bytes.subarray(0, writeText(name, bytes, 1));
  if (namePrefixes.size < namesMax) namePrefixes.set(name, prefix);
  return prefix;
}

function writeText(text: string, bytes: Buffer, from: number): number {
  let at = writeInteger(text.length, 0x7f, bytes, from);
  // A call into the runtime costs more than a short loop.
  if (text.length > 32) return at + bytes.write(text, at, 'latin1');
  for (let index = 0; index < text.length; index++) bytes[at++] = text.charCodeAt(index);
  return at;
}

/** Writes an integer into the bits of `mask` and further bytes (section 5.1). The other bits of the first byte are 0. */
function writeInteger(value: number, mask: number, bytes: Buffer, from: number): number {
  let at = from;
  bytes[at++] = Math.min(value, mask);
  if (value < mask) return at;
  let rest = value - mask;
  for (; rest > 0x7f; rest >>>= 7) bytes[at++] = (rest & 0x7f) | 0x80;
  bytes[at++] = rest;
  return at;
}
