/** Requests that a gRPC library would not send, and the frames of responses. */
import { setImmediate } from 'node:timers/promises';
import { deflateSync, gunzipSync, gzipSync } from 'node:zlib';
import { Status } from 'nice-grpc-common';
import { describe, expect, it } from 'vitest';
import { startEcho } from './echo.js';
import { startFrameTap } from './frames.js';
import { connectRaw, openRaw, prefixed, readRaw } from './raw-client.js';

const limit = 4 * 1024 * 1024;
const text = prefixed('text');

interface RawCall {
  readonly method?: string;
  readonly fields?: Readonly<Record<string, string | string[] | undefined>>;
  readonly chunks?: readonly Buffer[];
  readonly isEnded?: boolean;
}

async function call({ method = 'Say', fields = {}, chunks = [text], isEnded = true }: RawCall) {
  const { port } = await startEcho();
  const stream = openRaw(connectRaw(port), method, fields);
  for (const chunk of chunks) stream.write(chunk);
  if (isEnded) stream.end();
  const response = await readRaw(stream);
  const status = response.trailers['grpc-status'];
  return { ...response, status: status === undefined ? undefined : Status[Number(status)] };
}

describe('grpc-timeout', () => {
  it.each(['-1S', '1', '123456789S', '1X', 'S', '', '1.5S', '+1S', '1 S', '0x1S', '1s', '1SS'])(
    'is refused if it is “%s”',
    async (timeout) => {
      const { status, trailers } = await call({ fields: { 'grpc-timeout': timeout } });
      expect([status, trailers['grpc-message']]).toEqual([
        'INTERNAL',
        'grpc-timeout must be one to eight digits and a unit.',
      ]);
    },
  );

  it.each(['99999999H', '00000060M', '99999999S', '99999999m'])('may be %s', async (timeout) => {
    expect(await call({ fields: { 'grpc-timeout': timeout } })).toMatchObject({ status: 'OK', body: text });
  });

  it.each(['0S', '1n', '1u'])('ends a call at once if it is %s', async (timeout) => {
    const { status } = await call({
      fields: { 'grpc-timeout': timeout },
      method: 'Gather',
      chunks: [],
      isEnded: false,
    });
    expect(status).toBe('DEADLINE_EXCEEDED');
  });
});

describe('a compressed request', () => {
  const zeros = gzipSync(Buffer.alloc(limit));

  it.each([
    ['gzip', gzipSync('text')],
    ['deflate', deflateSync('text')],
  ])('can be in %s', async (encoding, compressed) => {
    for (const method of ['Say', 'Tell', 'Gather', 'Chat']) {
      const fields = { 'grpc-encoding': encoding };
      const response = await call({ method, fields, chunks: [prefixed(compressed, 1)] });
      expect(response).toMatchObject({ status: 'OK', body: text });
    }
  });

  it('may have messages without compression', async () => {
    const chunks = [prefixed(gzipSync('one'), 1), prefixed('two'), prefixed('', 1)];
    const { body } = await call({ method: 'Chat', fields: { 'grpc-encoding': 'gzip' }, chunks });
    expect(body).toEqual(Buffer.concat([prefixed('one'), prefixed('two'), prefixed('')]));
  });

  it.each([
    ['names no encoding', undefined, prefixed(gzipSync('text'), 1), 'INTERNAL'],
    ['names the encoding identity', 'identity', prefixed(gzipSync('text'), 1), 'INTERNAL'],
    ['has other bytes', 'gzip', prefixed('text', 1), 'INTERNAL'],
    ['is cut off', 'gzip', prefixed(gzipSync('text').subarray(0, 15), 1), 'INTERNAL'],
    ['becomes larger than the limit', 'gzip', prefixed(gzipSync(Buffer.alloc(limit + 1)), 1), 'RESOURCE_EXHAUSTED'],
    ['becomes much larger', 'gzip', prefixed(gzipSync(Buffer.alloc(16 * limit)), 1), 'RESOURCE_EXHAUSTED'],
    ['names an unknown encoding', 'br', text, 'UNIMPLEMENTED'],
    ['names a property of objects', 'constructor', text, 'UNIMPLEMENTED'],
  ])('is refused if it %s', async (_, encoding, bytes, expected) => {
    for (const method of ['Say', 'Gather', 'Chat']) {
      const { status, header } = await call({ method, fields: { 'grpc-encoding': encoding }, chunks: [bytes] });
      expect([status, header['grpc-accept-encoding']]).toEqual([expected, 'identity,gzip,deflate']);
    }
  });

  it('can be as large as the limit', async () => {
    const response = await call({ fields: { 'grpc-encoding': 'gzip' }, chunks: [prefixed(zeros, 1)] });
    expect([response.status, response.body.length]).toEqual(['OK', limit + 5]);
  });
});

describe('messages', () => {
  it('can be larger than what was sent of them, and are then refused', async () => {
    for (const method of ['Say', 'Gather']) {
      const { status } = await call({ method, chunks: [prefixed('', 0, limit + 1)], isEnded: false });
      expect(status).toBe('RESOURCE_EXHAUSTED');
    }
  });

  it.each([
    ['unknown flags', [prefixed('text', 2)], 'INTERNAL'],
    ['an end in a message', [prefixed('text', 0, 5)], 'INTERNAL'],
    ['an end in a prefix', [Buffer.alloc(4)], 'INTERNAL'],
  ])('with %s are refused', async (_, chunks, expected) => {
    for (const method of ['Say', 'Tell', 'Gather', 'Chat']) {
      const { status } = await call({ method, chunks });
      expect(status).toBe(expected);
    }
  });

  it.each([
    ['no message', []],
    ['two messages', [text, text]],
    ['two messages in one chunk', [Buffer.concat([text, text])]],
    ['a message and a half', [text, Buffer.alloc(3)]],
  ])('are refused by methods of one message if there is %s', async (name, chunks) => {
    for (const method of ['Say', 'Tell']) {
      const { status } = await call({ method, chunks });
      expect(status).toBe(name === 'a message and a half' ? 'INTERNAL' : 'UNIMPLEMENTED');
    }
  });

  it('can come in chunks of one byte', async () => {
    const { port } = await startEcho();
    const stream = openRaw(connectRaw(port), 'Chat');
    const response = readRaw(stream);
    const sent = Buffer.concat([prefixed('one'), prefixed(''), prefixed('three'.repeat(20))]);
    for (const byte of sent) {
      stream.write(Buffer.of(byte));
      await setImmediate();
    }
    stream.end();
    expect((await response).body).toEqual(sent);
  });

  it('can come in chunks that end anywhere', async () => {
    const sent = Buffer.concat(Array.from({ length: 50 }, (_, index) => prefixed('x'.repeat(index * 7))));
    for (const size of [1, 3, 6, 101, 1000]) {
      const chunks = Array.from({ length: Math.ceil(sent.length / size) }, (_, index) =>
        sent.subarray(index * size, (index + 1) * size),
      );
      expect((await call({ method: 'Chat', chunks })).body).toEqual(sent);
    }
  });
});

describe('a request that is not gRPC', () => {
  it.each([
    ['GET', { ':method': 'GET' }, 405],
    ['PUT', { ':method': 'PUT' }, 405],
    ['text', { 'content-type': 'text/plain' }, 415],
    ['JSON in gRPC', { 'content-type': 'application/grpc+json' }, 415],
    ['gRPC-Web', { 'content-type': 'application/grpc-web' }, 415],
    ['no content type', { 'content-type': undefined }, 415],
  ])('gets an HTTP status for %s', async (_, fields, expected) => {
    const { header, body } = await call({ fields });
    expect([header[':status'], body.length, header['grpc-status']]).toEqual([expected, 0, undefined]);
  });

  it.each(['application/grpc+proto', 'application/grpc;charset=utf-8', 'Application/GRPC'])(
    'is not one with the content type %s',
    async (type) => {
      expect((await call({ fields: { 'content-type': type } })).status).toBe('OK');
    },
  );

  it.each(['/', '/echo.Echo', '/echo.Echo/', '/echo.Echo/say', '/__proto__'])(
    'is a call of an unknown method for the path %s',
    async (path) => {
      expect((await call({ fields: { ':path': path } })).status).toBe('UNIMPLEMENTED');
    },
  );
});

describe('binary metadata', () => {
  const metadata = async (value: string | string[]) => {
    const seen: string[] = [];
    const { port } = await startEcho({
      async say(note, context) {
        for (const one of context.metadata.getAll('x-bin')) seen.push(Buffer.from(one).toString());
        return note;
      },
    });
    const stream = openRaw(connectRaw(port), 'Say', { 'x-bin': value });
    stream.end(text);
    expect((await readRaw(stream)).trailers['grpc-status']).toBe('0');
    return seen;
  };

  it.each([
    ['with padding', 'b25lIQ==', ['one!']],
    ['without padding', 'b25lIQ', ['one!']],
    ['twice in a field', 'b25l,dHdv', ['one', 'two']],
    ['twice in a field, with a space', 'b25l, dHdv', ['one', 'two']],
    ['in two fields', ['b25l', 'dHdv'], ['one', 'two']],
    ['that is empty', '', ['']],
    ['that is invalid', '!', []],
    ['of which one is invalid', 'b25l,a,dHdv', ['one', 'two']],
  ])('%s', async (_, value, expected) => {
    expect(await metadata(value)).toEqual(expected);
  });
});

describe('the frames of a response', () => {
  it('are one header for an error', async () => {
    const { port } = await startEcho();
    const tap = await startFrameTap(port);
    const stream = openRaw(connectRaw(tap.port), 'Missing');
    stream.end(text);
    await readRaw(stream);
    // The client may be told to stop sending.
    expect(tap.ofStream(1).filter((frame) => frame !== 'RST_STREAM')).toEqual(['HEADERS END_STREAM']);
  });

  it('are header, data and trailers', async () => {
    const { port } = await startEcho();
    const tap = await startFrameTap(port);
    const session = connectRaw(tap.port);
    for (const method of ['Say', 'Chat']) {
      const stream = openRaw(session, method);
      stream.end(text);
      await readRaw(stream);
      expect(tap.ofStream(stream.id ?? 0)).toEqual(['HEADERS', 'DATA', 'HEADERS END_STREAM']);
    }
  });

  it('end with RST_STREAM if the client still sends', async () => {
    const early = { text: 'early' };
    const { port } = await startEcho({
      gather: async () => early,
      async *chat() {
        yield early;
      },
    });
    const tap = await startFrameTap(port);
    const session = connectRaw(tap.port);
    for (const method of ['Gather', 'Chat']) {
      const stream = openRaw(session, method);
      const { trailers, code } = await readRaw(stream);
      expect([trailers['grpc-status'], code]).toEqual(['0', 0]);
      const frames = tap.ofStream(stream.id ?? 0);
      expect(frames).toEqual(['HEADERS', 'DATA', 'HEADERS END_STREAM', 'RST_STREAM']);
    }
    const stream = openRaw(session, 'Missing');
    await readRaw(stream);
    expect(tap.ofStream(stream.id ?? 0)).toEqual(['HEADERS END_STREAM', 'RST_STREAM']);
    expect(tap.frames.filter(({ type }) => type === 'RST_STREAM').map(({ payload }) => payload.readUInt32BE())).toEqual(
      [0, 0, 0],
    );
  });
});

describe('compressed responses', () => {
  const large = 'x'.repeat(100_000);
  const responseFor = async (method: string, accepted: string | undefined, message: string) => {
    const { port } = await startEcho({}, { compressResponses: true });
    const stream = openRaw(connectRaw(port), method, { 'grpc-accept-encoding': accepted });
    stream.end(prefixed(message));
    return readRaw(stream);
  };

  it.each(['Say', 'Chat'])('go to clients that accept gzip, from %s', async (method) => {
    const { header, body } = await responseFor(method, 'identity,gzip', large);
    expect([header['grpc-encoding'], body[0], gunzipSync(body.subarray(5)).toString()]).toEqual(['gzip', 1, large]);
  });

  it('go to no other clients', async () => {
    for (const accepted of [undefined, 'identity', 'deflate']) {
      const { header, body } = await responseFor('Say', accepted, large);
      expect([header['grpc-encoding'], body]).toEqual([undefined, prefixed(large)]);
    }
  });

  it('may have small messages without compression', async () => {
    const { header, body } = await responseFor('Say', 'gzip', 'text');
    expect([header['grpc-encoding'], body]).toEqual(['gzip', text]);
  });
});
