/** Frames and header blocks from bytes that are cut anywhere (RFC 9113, sections 4, 6.2 and 6.10). */
import { describe, expect, it } from 'vitest';
import { FrameParser } from '../../src/http2/frame-parser.js';
import { errorCode } from '../../src/http2/frames.js';
import { HeaderBlockReader } from '../../src/http2/header-block-reader.js';
import { frame, preface } from './frame-bytes.js';

const errorWith = (code: number) => expect.objectContaining({ code });

describe('FrameParser', () => {
  function parser() {
    const seen: string[] = [];
    const parser = new FrameParser((type, flags, id, bytes, from, to) => {
      seen.push(`${type} ${flags} ${id} ${bytes.toString('latin1', from, to)}`);
    });
    return { parser, seen };
  }

  const sent = Buffer.concat([
    preface,
    frame(4, 0, 0),
    frame(0, 1, 3, 'one'),
    frame(0, 0, 0),
    // The highest bit of the id is reserved.
    frame(200, 255, 0xffff_ffff, 'x'.repeat(40)),
    frame(6, 0, 0, '12345678'),
  ]);
  const parsed = ['4 0 0 ', '0 1 3 one', '0 0 0 ', `200 255 2147483647 ${'x'.repeat(40)}`, '6 0 0 12345678'];

  it('reads the same frames for each pair of cuts', () => {
    for (let first = 0; first <= sent.length; first++) {
      for (let second = first; second <= sent.length; second++) {
        const { parser: one, seen } = parser();
        for (const chunk of [sent.subarray(0, first), sent.subarray(first, second), sent.subarray(second)]) {
          one.push(chunk);
        }
        expect(seen).toEqual(parsed);
        expect([one.isInFrame, one.bufferedBytes]).toEqual([false, 0]);
      }
    }
  });

  it('reads the same frames from single bytes, and tells whether it waits for more', () => {
    const { parser: one, seen } = parser();
    const waits = [...sent].map((_, at) => {
      one.push(sent.subarray(at, at + 1));
      return one.isInFrame;
    });
    expect(seen).toEqual(parsed);
    // Five frames, the first of which ends with the preface.
    expect(waits.filter((isInFrame) => !isInFrame)).toHaveLength(6);
  });

  it('keeps its own copy of a frame that is not complete', () => {
    const { parser: one, seen } = parser();
    const chunk = Buffer.from(sent);
    one.push(chunk.subarray(0, -4));
    chunk.fill(0, 0, chunk.length - 4);
    one.push(chunk.subarray(-4));
    expect(seen).toEqual(parsed);
  });

  it('accepts payloads of 16,384 bytes and refuses larger ones, before they arrive', () => {
    const { parser: one, seen } = parser();
    one.push(Buffer.concat([preface, frame(0, 0, 1, Buffer.alloc(16_384, 'x'))]));
    expect(seen[0]).toHaveLength(16_384 + 6);
    for (const length of [16_385, 2 ** 24 - 1]) {
      const head = Buffer.alloc(9);
      head.writeUIntBE(length, 0, 3);
      for (let cut = 0; cut < 9; cut++) {
        const { parser: other } = parser();
        other.push(preface);
        other.push(head.subarray(0, cut));
        expect(() => other.push(head.subarray(cut))).toThrow(errorWith(errorCode.frameSizeError));
      }
    }
  });

  it('refuses other protocols at the first byte that differs', () => {
    for (let at = 0; at < preface.length; at++) {
      const other = Buffer.from(preface);
      other[at] = 0;
      const { parser: one } = parser();
      one.push(other.subarray(0, at));
      expect(() => one.push(other.subarray(at, at + 1))).toThrow(errorWith(errorCode.protocolError));
    }
  });

  it('ignores everything after stop, also within a chunk', () => {
    let count = 0;
    const stopped = new FrameParser(() => {
      count++;
      stopped.stop();
    });
    stopped.push(sent);
    stopped.push(sent);
    expect([count, stopped.bufferedBytes]).toEqual([1, 0]);
  });
});

describe('HeaderBlockReader', () => {
  const endStream = 1;
  const endHeaders = 4;
  const padded = 8;
  const priority = 0x20;

  function reader() {
    const blocks: string[] = [];
    const reader = new HeaderBlockReader((id, isEndOfStream, bytes, from, to) => {
      blocks.push(`${id} ${isEndOfStream} ${bytes.toString('latin1', from, to)}`);
    });
    const headers = (flags: number, id: number, payload: string | Buffer) => {
      const bytes = Buffer.concat([
        Buffer.of(9),
        typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload,
        Buffer.of(9),
      ]);
      reader.readHeaders(flags, id, bytes, 1, bytes.length - 1);
    };
    const more = (flags: number, id: number, payload: string) =>
      reader.readContinuation(flags, id, Buffer.from(payload), 0, payload.length);
    return { reader, blocks, headers, more };
  }

  it('reads blocks of one frame, with padding and priority', () => {
    const { headers, blocks } = reader();
    headers(endHeaders, 1, 'block');
    headers(endHeaders | endStream, 3, '');
    headers(endHeaders | padded, 5, '\x03block...');
    headers(endHeaders | priority, 7, '\x80\x00\x00\x01\x05block');
    headers(endHeaders | priority | padded, 9, '\x02\x00\x00\x00\x01\x05block..');
    headers(endHeaders | padded, 11, '\x00');
    const texts = ['1 false block', '3 true ', '5 false block', '7 false block', '9 false block', '11 false '];
    expect(blocks).toEqual(texts);
  });

  it('joins frames', () => {
    const { reader: one, headers, more, blocks } = reader();
    headers(endStream, 1, 'one ');
    expect([one.openStreamId, one.bufferedBytes]).toEqual([1, 4]);
    more(0, 1, '');
    more(0, 1, 'two ');
    more(endHeaders, 1, 'three');
    expect(blocks).toEqual(['1 true one two three']);
    expect([one.openStreamId, one.bufferedBytes]).toEqual([0, 0]);
  });

  it.each([
    ['an even stream', endHeaders, 2, 'block'],
    ['stream 0', endHeaders, 0, 'block'],
    ['no length of the padding', endHeaders | padded, 1, ''],
    ['padding as long as the frame', endHeaders | padded, 1, '\x05....'],
    ['a stream that depends on itself', endHeaders | priority, 1, '\x80\x00\x00\x01\x05block'],
  ])('refuses %s', (_name, flags, id, payload) => {
    expect(() => reader().headers(flags, id, payload)).toThrow(errorWith(errorCode.protocolError));
  });

  it('refuses a priority that is cut off', () => {
    for (const [flags, payload] of [
      [priority, '....'],
      [priority | padded, '\x01.....'],
    ] as const) {
      expect(() => reader().headers(flags | endHeaders, 1, payload)).toThrow(errorWith(errorCode.frameSizeError));
    }
  });

  it('refuses CONTINUATION of another stream, and without HEADERS', () => {
    const { headers, more } = reader();
    expect(() => more(endHeaders, 1, 'x')).toThrow(errorWith(errorCode.protocolError));
    expect(() => more(endHeaders, 0, 'x')).toThrow(errorWith(errorCode.protocolError));
    headers(0, 1, 'x');
    expect(() => more(endHeaders, 3, 'x')).toThrow(errorWith(errorCode.protocolError));
    more(endHeaders, 1, 'x');
    expect(() => more(endHeaders, 1, 'x')).toThrow(errorWith(errorCode.protocolError));
  });

  it('limits the frames and the bytes of a block (CVE-2024-27316)', () => {
    const { headers, more } = reader();
    headers(0, 1, 'x');
    expect(() => {
      for (let count = 0; count < 1000; count++) more(0, 1, '');
    }).toThrow(errorWith(errorCode.enhanceYourCalm));
    const other = reader();
    other.headers(0, 1, Buffer.alloc(16_384));
    for (let count = 0; count < 3; count++) other.more(0, 1, 'x'.repeat(16_384));
    expect(() => other.more(0, 1, 'x')).toThrow(errorWith(errorCode.enhanceYourCalm));
  });
});
