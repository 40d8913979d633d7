/** The Huffman code of HPACK (RFC 7541, section 5.2 and appendix B). */
import { compressionError } from './frames.js';

// The lengths of the codes of all bytes. The codes follow from them, because codes of one length are successive numbers in
// the order of the bytes, and shorter codes come first.
const codeLengths: readonly number[] = `
  13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28 6 10 10 12 13 6 8 11
  10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10 13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 8 7 8 13 19
  13 14 6 15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28 20 22 20 20 22 22 22 23 22 23 23 23 23
  23 24 23 24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24 22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21
  23 22 23 23 20 22 22 22 23 22 22 23 26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21 21 26
  26 28 27 27 27 20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26
`
  .trim()
  .split(/\s+/)
  .map(Number);
const longestCode = 30;

/**
 * Decodes eight bits at a time. An entry of a table is 0 if no code begins with these bits, (bits << 8 | byte) if a code
 * ends within them and has this number of bits in the table, and -n if the n-th table decodes the rest of the code.
 */
const tables: Int32Array[] = [new Int32Array(256)];
const rootTable = tables[0] ?? new Int32Array(256);

function addCode(byte: number, code: number, length: number): void {
  let table = rootTable;
  let rest = length;
  for (; rest > 8; rest -= 8) {
    const index = (code >>> (rest - 8)) & 0xff;
    if (table[index] === 0) table[index] = -(tables.push(new Int32Array(256)) - 1);
    table = tables[-(table[index] ?? 0)] ?? rootTable;
  }
  const first = (code << (8 - rest)) & 0xff;
  table.fill((rest << 8) | byte, first, first + (1 << (8 - rest)));
}

let nextCode = 0;
for (let length = 1; length <= longestCode; length++) {
  nextCode *= 2;
  for (const [byte, codeLength] of codeLengths.entries()) if (codeLength === length) addCode(byte, nextCode++, length);
}

// The shortest code has five bits.
const bytesPerByteMax = 8 / 5;
let decoded = Buffer.allocUnsafeSlow(4096);

/** Decodes the bytes between two offsets, each to one character. Throws a ConnectionError. */
export function decodeHuffman(bytes: Buffer, from: number, to: number): string {
  const bytesMax = Math.ceil((to - from) * bytesPerByteMax);
  if (decoded.length < bytesMax) decoded = Buffer.allocUnsafeSlow(bytesMax);
  let length = 0;
  let bits = 0;
  let bitCount = 0;
  let table = rootTable;
  for (let at = from; at < to; at++) {
    bits = (bits << 8) | (bytes[at] ?? 0);
    bitCount += 8;
    while (bitCount >= 8) {
      const entry = table[(bits >>> (bitCount - 8)) & 0xff] ?? 0;
      if (entry === 0) throw compressionError('The bits are not a code.');
      if (entry < 0) {
        bitCount -= 8;
        table = tables[-entry] ?? rootTable;
      } else {
        decoded[length++] = entry & 0xff;
        bitCount -= entry >>> 8;
        table = rootTable;
      }
    }
    bits &= 0xff;
  }
  // At most seven bits are left. They may contain short codes.
  while (bitCount > 0) {
    const entry = table[(bits << (8 - bitCount)) & 0xff] ?? 0;
    if (entry <= 0 || entry >>> 8 > bitCount) break;
    decoded[length++] = entry & 0xff;
    bitCount -= entry >>> 8;
    table = rootTable;
  }
  // The padding is the beginning of the code of the end of string: ones.
  const padding = (1 << bitCount) - 1;
  if (table !== rootTable || (bits & padding) !== padding) throw compressionError('The padding is not valid.');
  return decoded.toString('latin1', 0, length);
}
