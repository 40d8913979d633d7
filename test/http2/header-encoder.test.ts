/** Encoding of header blocks (HPACK, RFC 7541), read back with our decoder. hpack.mjs reads them with Go's. */
import { expect, it } from 'vitest';
import { HeaderDecoder } from '../../src/http2/header-decoder.js';
import { encodedBytesMax, encodeFields } from '../../src/http2/header-encoder.js';

function encode(fields: readonly string[]): Buffer {
  const bytes = Buffer.alloc(encodedBytesMax(fields) + 10, 0xee);
  const end = encodeFields(fields, bytes, 5);
  // Nothing is written around the block, whose size was announced.
  expect(end).toBeLessThanOrEqual(5 + encodedBytesMax(fields));
  expect(bytes.subarray(0, 5)).toEqual(Buffer.alloc(5, 0xee));
  expect(bytes.subarray(end)).toEqual(Buffer.alloc(bytes.length - end, 0xee));
  return bytes.subarray(5, end);
}

function roundTrip(fields: readonly string[]): readonly string[] {
  const block = encode(fields);
  return new HeaderDecoder(10_000_000).decode(block, 0, block.length).fields;
}

it('uses the static table for pseudo-fields and for names', () => {
  expect(encode([':status', '200']).toString('hex')).toBe('88');
  expect(encode([':status', '404']).toString('hex')).toBe('8d');
  expect(encode([':status', '431']).toString('hex')).toBe('0803343331');
  expect(encode(['content-type', 'a']).toString('hex')).toBe('0f100161');
  expect(encode(['grpc-status', '0']).toString('hex')).toBe('000b677270632d7374617475730130');
});

it('keeps every field out of the tables of clients', () => {
  const block = encode(['x-secret', '1', 'content-type', 'text', 'date', 'today']);
  const decoder = new HeaderDecoder(10_000);
  decoder.decode(block, 0, block.length);
  expect(() => decoder.decode(Buffer.of(0xbe), 0, 1)).toThrow('An index is not in the table.');
});

it.each([0, 1, 31, 32, 33, 126, 127, 128, 254, 255, 16_383, 16_510, 16_511, 70_000])(
  'writes texts of %i characters',
  (length) => {
    const fields = ['n'.repeat(length), 'v'.repeat(length), 'x'.repeat(length), '', '', 'y'.repeat(length)];
    expect(roundTrip(fields)).toEqual(fields);
  },
);

it('writes every byte', () => {
  const all = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));
  const fields = [...all.flatMap((character) => [character, character]), all.join(''), all.join('')];
  expect(roundTrip(fields)).toEqual(fields);
});

it('writes nothing for no fields', () => {
  expect(encode([])).toHaveLength(0);
});

it('writes names that it has not kept', () => {
  for (let count = 0; count < 3000; count++) {
    const fields = [`name-${count}`, `${count}`, `name-${count % 7}`, 'again'];
    expect(roundTrip(fields)).toEqual(fields);
  }
});
