/** The Huffman code of HPACK (RFC 7541, section 5.2 and appendix B). */
import { describe, expect, it } from 'vitest';
import { ConnectionError } from '../../src/http2/frames.js';
import { decodeHuffman } from '../../src/http2/huffman.js';
import { huffmanCodes } from './rfc7541-tables.js';

const endOfString = 256;

/** Encodes symbols with the codes of the RFC, and fills the last byte with bits. */
function encode(symbols: Iterable<number>, padding = '1'): Buffer {
  let bits = '';
  for (const symbol of symbols) {
    const { code, bits: length } = huffmanCodes[symbol] ?? { code: 0, bits: 0 };
    bits += code.toString(2).padStart(length, '0');
  }
  while (bits.length % 8 !== 0) bits += padding;
  return Buffer.from(bits.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? []);
}

function decode(bytes: Buffer): string {
  // Bytes around the string must not matter.
  const surrounded = Buffer.concat([Buffer.of(0, 0xff), bytes, Buffer.of(0xff, 0)]);
  return decodeHuffman(surrounded, 2, surrounded.length - 2);
}

const bytesOf = (text: string) => [...Buffer.from(text, 'latin1')];

describe('Huffman', () => {
  it('decodes each byte, alone and between any others', () => {
    for (let byte = 0; byte < 256; byte++) {
      const texts = [[byte], [byte, byte], [0x30, byte], [0x58, byte, 0x61], [0, byte, 255], [byte, 0x7a, byte]];
      for (const text of texts) expect(bytesOf(decode(encode(text)))).toEqual(text);
    }
  });

  it('decodes every pair of bytes', () => {
    for (let first = 0; first < 256; first++) {
      const text = Array.from({ length: 512 }, (_, index) => (index % 2 === 0 ? first : index >> 1));
      expect(bytesOf(decode(encode(text)))).toEqual(text);
    }
  });

  it('decodes nothing to an empty string', () => {
    expect(decode(Buffer.alloc(0))).toBe('');
  });

  it('decodes strings that are longer than its buffer', () => {
    const text = '0'.repeat(100_000);
    expect(decode(encode(bytesOf(text)))).toBe(text);
    expect(decode(encode([0x61]))).toBe('a');
  });

  it('refuses padding of more than seven bits', () => {
    const texts = ['', 'a', '0', '&', 'X', '\0'].map(bytesOf);
    for (const text of texts) {
      for (const more of [[0xff], [0xff, 0xff], [0xff, 0xff, 0xff]]) {
        expect(() => decode(Buffer.concat([encode(text), Buffer.from(more)]))).toThrow(ConnectionError);
      }
    }
  });

  it('refuses padding that has a zero', () => {
    for (let byte = 0; byte < 256; byte++) {
      const { bits } = huffmanCodes[byte] ?? { bits: 0 };
      // Padding of five zeros or more is the code of a character.
      if (bits % 8 > 3) expect(() => decode(encode([byte], '0')), `byte ${byte}`).toThrow(ConnectionError);
    }
    // Of seven bits of padding after a code of nine or more bits, six are ones.
    expect(() => decode(Buffer.of(0x1f, 0b1111_1110))).toThrow(ConnectionError);
  });

  it('refuses the end of string as a symbol', () => {
    for (const symbols of [[endOfString], [0x61, endOfString], [endOfString, 0x3f], [0, endOfString, endOfString]]) {
      expect(() => decode(encode(symbols))).toThrow(ConnectionError);
    }
  });

  it('refuses codes that are cut off', () => {
    for (let byte = 0; byte < 256; byte++) {
      const whole = encode([byte]);
      if (whole.length === 1) continue;
      // The first bytes of a long code are a part of the code, or padding that is too long.
      expect(() => decode(whole.subarray(0, -1)), `byte ${byte}`).toThrow(ConnectionError);
    }
  });
});
