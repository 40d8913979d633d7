/** Decoding of header blocks (HPACK, RFC 7541). */
import { describe, expect, it } from 'vitest';
import { ConnectionError, errorCode } from '../../src/http2/frames.js';
import { HeaderDecoder } from '../../src/http2/header-decoder.js';
import { huffmanCodes, staticFields } from './rfc7541-tables.js';

const largeLimit = 1024 * 1024;

/** Decodes blocks, in hexadecimal or as bytes, one after the other. */
function decoder(listBytesMax = largeLimit) {
  const decoder = new HeaderDecoder(listBytesMax);
  return (block: string | Uint8Array) => {
    const bytes = typeof block === 'string' ? Buffer.from(block.replaceAll(/\s/g, ''), 'hex') : Buffer.from(block);
    // Bytes around the block must not matter.
    const surrounded = Buffer.concat([Buffer.of(0xff), bytes, Buffer.of(0x82, 0x40)]);
    return decoder.decode(surrounded, 1, 1 + bytes.length);
  };
}

const decodeAll = (blocks: readonly (string | Uint8Array)[]) => {
  const decode = decoder();
  return blocks.map((block) => decode(block).fields);
};

const compressionError = expect.objectContaining({ code: errorCode.compressionError });
const refused = (...blocks: (string | Uint8Array)[]) => {
  const decode = decoder();
  for (const block of blocks.slice(0, -1)) decode(block);
  expect(() => decode(blocks.at(-1) ?? '')).toThrow(compressionError);
};

/** Literals without Huffman. */
const text = (value: string) => [...integer(value.length, 7), ...Buffer.from(value, 'latin1')];
const literal = (name: string, value: string, type = 0) => [type, ...text(name), ...text(value)];
const indexed = 0x40;

function integer(value: number, bits: number, high = 0): number[] {
  const mask = 2 ** bits - 1;
  if (value < mask) return [high | value];
  const bytes = [high | mask];
  let rest = value - mask;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push(128 + (rest % 128));
  return [...bytes, rest];
}

const requests = [
  [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com'],
  [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com', 'cache-control', 'no-cache'],
  [
    ...[':method', 'GET', ':scheme', 'https', ':path', '/index.html', ':authority', 'www.example.com'],
    ...['custom-key', 'custom-value'],
  ],
];
const location = ['location', 'https://www.example.com'];
const firstDate = ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'];
const secondDate = ['date', 'Mon, 21 Oct 2013 20:13:22 GMT'];
const cookie = ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'];
const responses = [
  [':status', '302', 'cache-control', 'private', ...firstDate, ...location],
  [':status', '307', 'cache-control', 'private', ...firstDate, ...location],
  [':status', '200', 'cache-control', 'private', ...secondDate, ...location, 'content-encoding', 'gzip', ...cookie],
];
// The examples of responses have a table of 256 bytes.
const smallTable = '3fe101';

describe('the examples of RFC 7541, appendix C', () => {
  it.each([
    ['C.2.1', '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572', ['custom-key', 'custom-header']],
    ['C.2.2', '040c 2f73 616d 706c 652f 7061 7468', [':path', '/sample/path']],
    ['C.2.3', '1008 7061 7373 776f 7264 0673 6563 7265 74', ['password', 'secret']],
    ['C.2.4', '82', [':method', 'GET']],
  ])('%s', (_name, block, fields) => {
    expect(decodeAll([block])).toEqual([fields]);
  });

  it.each([
    [
      'C.3, requests',
      [
        '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        '8286 84be 5808 6e6f 2d63 6163 6865',
        '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
      ],
      requests,
    ],
    [
      'C.4, requests with Huffman',
      [
        '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
        '8286 84be 5886 a8eb 1064 9cbf',
        '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
      ],
      requests,
    ],
    [
      'C.5, responses with evictions',
      [
        `${smallTable} 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a
         3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
        '4803 3330 37c1 c0bf',
        `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738
         666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33
         3630 303b 2076 6572 7369 6f6e 3d31`,
      ],
      responses,
    ],
    [
      'C.6, responses with Huffman and evictions',
      [
        `${smallTable} 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e
         919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
        '4883 640e ffc1 c0bf',
        `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7
         b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
      ],
      responses,
    ],
  ])('%s', (_name, blocks, lists) => {
    expect(decodeAll(blocks)).toEqual(lists);
  });

  it('leave the dynamic table as they describe', () => {
    const decode = decoder();
    for (const block of [`${smallTable} 4803333032 580770726976617465`, '4803333037']) decode(block);
    expect(decode('be bf c0').fields).toEqual([':status', '307', 'cache-control', 'private', ':status', '302']);
    expect(() => decode('c1')).toThrow(compressionError);
  });
});

describe('the static table', () => {
  it('has the fields of appendix A', () => {
    expect(staticFields).toHaveLength(61);
    for (const [position, [name = '', value = '']] of staticFields.entries()) {
      const index = position + 1;
      expect(decodeAll([Buffer.of(0x80 | index)])).toEqual([[name, value]]);
      expect(decodeAll([Uint8Array.from([...integer(index, 4), ...text('x')])])).toEqual([[name, 'x']]);
    }
  });

  it('has no index 0', () => {
    refused('80');
    // For a literal, 0 means that a name follows.
    refused('00');
  });
});

describe('the dynamic table', () => {
  it('has the newest entry first, after the static table', () => {
    const block = [...literal('a', '1', indexed), ...literal('b', '2', indexed), 0xbe, 0xbf];
    expect(decodeAll([Uint8Array.from(block)])).toEqual([['a', '1', 'b', '2', 'b', '2', 'a', '1']]);
  });

  it('keeps no field that is sent without indexing, or that is never indexed', () => {
    refused(Uint8Array.from([...literal('a', '1'), 0xbe]));
    refused(Uint8Array.from([...literal('a', '1', 0x10), 0xbe]));
  });

  it('holds exactly 4096 bytes, and each entry counts 32 more than its text', () => {
    const half = (name: string, more = 0) => literal(name, 'x'.repeat(2048 - 32 - 1 + more), indexed);
    const names = (block: number[]) => decodeAll([Uint8Array.from(block)])[0]?.filter((_, index) => index % 2 === 0);
    expect(names([...half('a'), ...half('b'), 0xbf])).toEqual(['a', 'b', 'a']);
    refused(Uint8Array.from([...half('a'), ...half('b', 1), 0xbf]));
  });

  it('is empty after a field that is larger than it, which is not an error', () => {
    const large = literal('large', 'x'.repeat(4096), indexed);
    const decode = decoder();
    decode(Uint8Array.from(literal('a', '1', indexed)));
    expect(decode(Uint8Array.from(large)).fields).toEqual(['large', 'x'.repeat(4096)]);
    expect(() => decode('be')).toThrow(compressionError);
  });

  it('takes a name from an entry that the new field evicts', () => {
    const first = literal('name', 'x'.repeat(4000), indexed);
    const second = [...integer(62, 6, indexed), ...text('y'.repeat(100))];
    const [fields] = decodeAll([Uint8Array.from([...first, ...second, 0xbe])]);
    expect(fields?.slice(2)).toEqual(['name', 'y'.repeat(100), 'name', 'y'.repeat(100)]);
  });

  it('stays correct for thousands of entries', () => {
    const decode = decoder();
    for (let count = 0; count < 5000; count++) {
      const { fields } = decode(Uint8Array.from([...literal(`n${count}`, `${count}`, indexed), 0xbe]));
      expect(fields).toEqual([`n${count}`, `${count}`, `n${count}`, `${count}`]);
      const age = count % 90;
      if (count < age) continue;
      const older = decode(Uint8Array.from(integer(62 + age, 7, 0x80))).fields;
      expect(older).toEqual([`n${count - age}`, `${count - age}`]);
    }
  });
});

describe('a change of the table size', () => {
  it('evicts entries, and 0 evicts all', () => {
    const entry = Uint8Array.from(literal('a', '1', indexed));
    expect(decodeAll([entry, '3f03 be'])).toEqual([
      ['a', '1'],
      ['a', '1'],
    ]);
    refused(entry, '3f02 be');
    refused(entry, '20 be');
    // Two changes in one block: to the smallest size, then to the final one (section 4.2).
    refused(entry, '20 3fe11f be');
  });

  it('holds for later blocks', () => {
    const entry = Uint8Array.from(literal('a', '1', indexed));
    expect(decodeAll(['20', '82', '3fe11f', entry, 'be'])[4]).toEqual(['a', '1']);
    refused('20', entry, 'be');
  });

  it('is refused above the limit of the server, which is 4096', () => {
    expect(decodeAll(['3fe11f'])).toEqual([[]]);
    refused('3fe21f');
  });

  it('is refused after a field', () => {
    refused('82 20');
    refused('20 82 20');
  });
});

describe('integers', () => {
  const nameOfLength = (length: number) => Uint8Array.from([0, ...integer(length, 7), ...Buffer.alloc(length, 'n'), 0]);

  it.each([0, 1, 126, 127, 128, 254, 255, 256, 16_383, 16_510, 16_511, 16_512, 100_000])('can be %i', (length) => {
    expect(decodeAll([nameOfLength(length)])).toEqual([['n'.repeat(length), '']]);
  });

  it('may be longer than necessary, up to four more bytes', () => {
    // 127 + 1, with leading zeros in the last bytes.
    const value = Buffer.alloc(128, 'v');
    for (const length of [
      [127, 1],
      [127, 0x81, 0],
      [127, 0x81, 0x80, 0],
      [127, 0x81, 0x80, 0x80, 0],
    ]) {
      expect(decodeAll([Uint8Array.from([0x04, ...length, ...value])])).toEqual([[':path', 'v'.repeat(128)]]);
    }
    refused(Uint8Array.from([0x04, 127, 0x81, 0x80, 0x80, 0x80, 0, ...value]));
  });

  it.each([
    'ff', // An index without its next byte.
    'ff80',
    '7f',
    '0f',
    '1f',
    '3f',
    'ffffffff7f', // An index of 2^28 and more.
    'ffffffffff0f',
    'ffffffffffffffffff01',
    '3fffffff7f', // A size of the table.
    '047fffffff7f', // A length.
    '047fffffffff7f',
  ])('are refused if they are cut off or too large: %s', (block) => {
    refused(block);
  });
});

describe('strings', () => {
  it('are refused at each cut', () => {
    const block = Buffer.from([...literal('name', 'value'.repeat(40), indexed)]);
    for (let length = 1; length < block.length; length++) refused(block.subarray(0, length));
    const huffman = Buffer.from('418cf1e3c2e5f23a6ba0ab90f4ff', 'hex');
    for (let length = 1; length < huffman.length; length++) refused(huffman.subarray(0, length));
  });

  it('with invalid Huffman are errors of compression', () => {
    for (const value of ['81ff', '8100', '84ffffffff']) refused(`04${value}`);
  });

  it('can have any bytes', () => {
    const all = Buffer.from(Uint8Array.from({ length: 256 }, (_, index) => index)).toString('latin1');
    expect(decodeAll([Uint8Array.from(literal(all, all))])).toEqual([[all, all]]);
  });
});

describe('a block that repeats', () => {
  const block = Uint8Array.from([...literal('a', '1'), ...literal('b', 'x'.repeat(200))]);

  it('has the same list, also among other blocks', () => {
    const decode = decoder();
    const first = decode(block);
    for (const length of [1, 2, 3]) decode(Uint8Array.from([...block, ...literal('c', 'y'.repeat(length))]));
    expect(decode(block)).toBe(first);
  });

  it('has a new list if the table has changed', () => {
    const decode = decoder();
    const first = decode(block);
    decode(Uint8Array.from(literal('c', 'y', indexed)));
    expect(decode(block)).not.toBe(first);
    expect(decode(block).fields).toEqual(first.fields);
  });

  it('means what the table means now', () => {
    const [newest, older] = [Uint8Array.of(0xbe), Uint8Array.of(0xbf)];
    const insert = (value: string) => Uint8Array.from(literal('c', value, indexed));
    expect(decodeAll([insert('1'), newest, insert('2'), newest, older, '20 3fe11f'])).toEqual([
      ...[['c', '1'], ['c', '1'], ['c', '2'], ['c', '2'], ['c', '1'], []],
    ]);
    refused(insert('1'), newest, '20 3fe11f', newest);
  });

  it('is decoded again if it changes the table', () => {
    const insert = literal('c', '1', indexed);
    expect(decodeAll([...Array.from({ length: 3 }, () => Uint8Array.from(insert)), 'c0'])[3]).toEqual(['c', '1']);
  });

  it('has too many bytes again', () => {
    const decode = decoder(100);
    for (let round = 0; round < 2; round++) expect(decode(block).isTooLarge).toBe(true);
  });
});

describe('a long value', () => {
  /** Encodes zeros, whose code is five zeros, and other bytes without Huffman. */
  const huffmanZeros = (count: number) => {
    expect(huffmanCodes[0x30]).toEqual({ code: 0, bits: 5 });
    return [...integer((count * 5) / 8, 7, 0x80), ...Buffer.alloc((count * 5) / 8)];
  };
  const token = 't'.repeat(200);

  it('is the same for the same bytes, in other fields too', () => {
    const decode = decoder();
    for (let round = 0; round < 3; round++) {
      expect(decode(Uint8Array.from([...literal('a', token), ...literal('b', token, 0x10)])).fields).toEqual([
        ...['a', token],
        ...['b', token],
      ]);
    }
  });

  it('is another one if a byte differs, or if only the encoding differs', () => {
    const decode = decoder();
    const values = [token, `${token.slice(1)}u`, `u${token.slice(1)}`, token, `${token}t`, token.slice(1)];
    for (const value of values) expect(decode(Uint8Array.from(literal('a', value))).fields).toEqual(['a', value]);
    const zeros = '\0'.repeat(100);
    for (let round = 0; round < 2; round++) {
      expect(decode(Uint8Array.from([0, ...text('a'), ...huffmanZeros(160)])).fields).toEqual(['a', '0'.repeat(160)]);
      expect(decode(Uint8Array.from([0, ...text('a'), ...text(zeros)])).fields).toEqual(['a', zeros]);
    }
  });

  it('does not depend on the bytes of the previous block', () => {
    const decoder = new HeaderDecoder(largeLimit);
    const block = Buffer.from(literal('a', token));
    expect(decoder.decode(block, 0, block.length).fields).toEqual(['a', token]);
    block.fill('x', 5);
    expect(decoder.decode(block, 0, block.length).fields[1]).toBe('x'.repeat(200));
  });

  it('is not an entry of the table', () => {
    refused(Uint8Array.from([...literal('a', token), ...literal('a', token), 0xbe]));
  });
});

describe('the limit of a list', () => {
  it('counts 32 bytes for each field, and may be reached exactly', () => {
    const block = Uint8Array.from([...literal('a', '1'), ...literal('b', '2')]);
    expect(decoder(68)(block)).toEqual({ fields: ['a', '1', 'b', '2'], isTooLarge: false });
    expect(decoder(67)(block)).toEqual({ fields: ['a', '1'], isTooLarge: true });
    expect(decoder(33)(block)).toEqual({ fields: [], isTooLarge: true });
  });

  it('leaves out fields, which still change the table', () => {
    const decode = decoder(100);
    const fields = Array.from({ length: 5 }, (_, index) => literal(`n${index}`, 'v', indexed)).flat();
    expect(decode(Uint8Array.from(fields))).toEqual({ fields: ['n0', 'v', 'n1', 'v'], isTooLarge: true });
    expect(decode('be c2')).toEqual({ fields: ['n4', 'v', 'n0', 'v'], isTooLarge: false });
  });

  it('holds for many references to one large entry (CVE-2016-6581)', () => {
    const decode = decoder(10_000);
    decode(Uint8Array.from(literal('a', 'x'.repeat(4000), indexed)));
    const { fields, isTooLarge } = decode(Buffer.alloc(16_000, 0xbe));
    expect([fields.length, isTooLarge]).toEqual([4, true]);
  });

  it('does not hide invalid bytes after it', () => {
    expect(() => decoder(10)(Uint8Array.from([...literal('a', '1'), 0xff]))).toThrow(ConnectionError);
  });
});
