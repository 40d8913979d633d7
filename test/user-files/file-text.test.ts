/** Decoding files in the encodings that common tools write, and the line of bytes that are not text. */
import { describe, expect, it } from 'vitest';
import { decodeText, parseEncoding, UnreadableFile, WrongEncoding } from '../../src/user-files/file-text.js';

async function* inPieces(bytes: Uint8Array, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

function utf16(text: string, isBigEndian = false): Buffer {
  const bytes = Buffer.from(text, 'utf16le');
  return isBigEndian ? bytes.swap16() : bytes;
}

describe('a file is read', () => {
  const text = 'Jürgen,Groß\r\n😀,€\n';
  it.each<[string, Uint8Array, string | undefined, string]>([
    ['as UTF-8', Buffer.from(text), undefined, 'utf-8'],
    ['as UTF-8 with a byte order mark', Buffer.from(`\ufeff${text}`), undefined, 'utf-8'],
    ['as UTF-16, little-endian', utf16(`\ufeff${text}`), undefined, 'utf-16le'],
    ['as UTF-16, big-endian', utf16(`\ufeff${text}`, true), undefined, 'utf-16be'],
    ['as UTF-16 without a mark, if that is requested', utf16(text), 'utf-16le', 'utf-16le'],
    ['by its mark, even if another encoding is requested', Buffer.from(`\ufeff${text}`), 'windows-1252', 'utf-8'],
  ])('%s', async (_, bytes, asked, encoding) => {
    for (const length of [1, 2, 3, 1000]) {
      const decoded = decodeText(inPieces(bytes, length), asked);
      expect((await Array.fromAsync(decoded.text)).join('')).toBe(text);
      expect(decoded.encoding()).toBe(encoding);
    }
  });

  it('as windows-1252, with the letters that ISO 8859-1 does not have', async () => {
    const decoded = decodeText(inPieces(Uint8Array.of(0x80, 0x93, 0xfc), 1), 'windows-1252');
    expect((await Array.fromAsync(decoded.text)).join('')).toBe('€“ü');
  });

  it('if it is empty, or shorter than a mark', async () => {
    expect((await Array.fromAsync(decodeText(inPieces(Buffer.from(''), 1)).text)).join('')).toBe('');
    expect((await Array.fromAsync(decodeText(inPieces(Buffer.from('a'), 1)).text)).join('')).toBe('a');
  });
});

describe('the line of a byte that is not text is reported', () => {
  async function read(bytes: Uint8Array, length: number, asked?: string): Promise<{ text: string; error: unknown }> {
    let text = '';
    try {
      for await (const piece of decodeText(inPieces(bytes, length), asked).text) text += piece;
      return { text, error: undefined };
    } catch (error) {
      return { text, error };
    }
  }

  it.each([1, 2, 3, 5, 1000])('after all text before it, in pieces of %i bytes', async (length) => {
    for (const end of ['\n', '\r\n', '\r']) {
      const before = `é😀,a${end}${end}"b${end}`;
      const bytes = Buffer.concat([Buffer.from(before), Buffer.from('Zo\xeb,x\n', 'latin1')]);
      const { text, error } = await read(bytes, length);
      expect(text).toBe(`${before}Zo`);
      expect(error).toBeInstanceOf(WrongEncoding);
      expect(error).toMatchObject({ line: 4, suggestion: 'windows-1252' });
      expect(String(error)).toContain('from line 4 on: it is not UTF-8');
    }
  });

  it('if the file ends within a character', async () => {
    expect((await read(Uint8Array.of(0x61, 0x0a, 0xc3), 2)).error).toMatchObject({ line: 2 });
    expect((await read(Buffer.from([0xff, 0xfe, 0x61, 0, 0x0a, 0, 0x62]), 4)).error).toMatchObject({ line: 2 });
  });

  it('without suggesting another encoding if the file has a mark', async () => {
    const { error } = await read(Buffer.from([0xef, 0xbb, 0xbf, 0x61, 0xff]), 1000, 'windows-1252');
    expect(error).toBeInstanceOf(UnreadableFile);
    expect(error).not.toBeInstanceOf(WrongEncoding);
  });
});

it('knows the names of encodings', () => {
  expect(parseEncoding('Latin1')).toBe('windows-1252');
  expect(parseEncoding('UTF-16')).toBe('utf-16le');
  expect(parseEncoding('ebcdic')).toBeUndefined();
});
