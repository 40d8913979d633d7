/** Floods end their own connection, or cost so little that they need not, and do not disturb other clients. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Attack,
  type Attacker,
  type AttackerOptions,
  type Caller,
  type FloodedServer,
  type FloodTest,
  flood,
  startCaller,
  startFloodedServer,
} from './flood.js';
import {
  flag,
  headers,
  literal,
  message,
  ping,
  requestBlock,
  resetStream,
  settings,
  settingsAck,
  type,
  windowUpdate,
} from './flood-frames.js';
import { frame, number } from './frame-bytes.js';

const mib = 1024 * 1024;
const initialWindow = 4;
const windowMax = 2 ** 31 - 1;
const calm = 11;
const text = Buffer.from('text');
const countBlock = requestBlock('Count');
const echoBlock = requestBlock('Echo');

let server: FloodedServer;
let quiet: FloodedServer;
let caller: Caller;
const servers = (): FloodTest => ({ server, quiet, caller });

beforeAll(async () => {
  [server, quiet] = await Promise.all([startFloodedServer(), startFloodedServer()]);
  caller = await startCaller([server, quiet]);
  // Code that runs for the first time is slow.
  caller.start();
  await new Promise((resolve) => setTimeout(resolve, 500));
  await caller.end();
});

afterAll(() => {
  caller?.stop();
  server?.stop();
  quiet?.stop();
});

/** The bytes that `one` returns, about 16 KB of them. */
function many(one: () => Buffer): () => Buffer {
  return () => {
    const parts: Buffer[] = [];
    for (let bytes = 0; bytes < 16_384; ) {
      const part = one();
      parts.push(part);
      bytes += part.length;
    }
    return Buffer.concat(parts);
  };
}

/** Starts calls that stay open. */
async function openCalls(attacker: Attacker, count: number, block = countBlock): Promise<void> {
  const bytes = many(() => headers(attacker.nextStream(), block));
  for (let sent = 0; sent < count; sent += Math.ceil(16_384 / (9 + block.length))) await attacker.send(bytes());
}

/** A flood of frames that a function makes for a connection. */
function floodOf(make: (attacker: Attacker) => () => Buffer, options?: AttackerOptions) {
  return async ({ open, repeat }: Attack) => {
    const attacker = await open(options);
    await repeat(attacker, many(make(attacker)));
    // The reason arrives a moment later.
    if (attacker.code === undefined) await Promise.race([attacker.closed, new Promise((end) => setTimeout(end, 300))]);
  };
}

/** One frame again and again. */
const same = (bytes: Buffer) => floodOf(() => () => bytes);

/** A call, and frames that make the server reset it. */
const resetBy = (make: (stream: number) => Buffer) =>
  floodOf((attacker) => () => {
    const stream = attacker.nextStream();
    return Buffer.concat([headers(stream, countBlock), make(stream)]);
  });

/** A call whose request has ended and that has no answer yet, and a frame. */
const afterEnd = (make: (stream: number) => Buffer) =>
  floodOf((attacker) => () => {
    const stream = attacker.nextStream();
    return Buffer.concat([headers(stream, requestBlock('Late')), message(stream, text, flag.endStream), make(stream)]);
  });

/** Frames on one call that stays open. */
const onOpenCall = (make: (stream: number) => Buffer, block = countBlock) =>
  floodOf((attacker) => {
    const stream = attacker.nextStream();
    attacker.socket.write(headers(stream, block));
    return () => make(stream);
  });

describe('rapid reset (CVE-2023-44487)', () => {
  it.each([
    ['calls', resetBy(resetStream)],
    ['calls whose handler runs', afterEnd(resetStream)],
    ['streams that are closed', onOpenCall(resetStream)],
  ])('of %s ends the connection', async (_, run) => {
    await flood(servers(), run, calm);
  });
});

describe('frames that make the server reset a stream (CVE-2025-8671) end the connection', () => {
  it.each([
    ['a window that is too large', resetBy((stream) => windowUpdate(stream, windowMax))],
    ['an empty WINDOW_UPDATE', resetBy((stream) => windowUpdate(stream, 0))],
    ['PRIORITY of a wrong length', resetBy((stream) => frame(type.priority, 0, stream, Buffer.alloc(4)))],
    [
      'PRIORITY on itself',
      resetBy((stream) => frame(type.priority, 0, stream, Buffer.concat([number(stream), Buffer.of(0)]))),
    ],
    ['DATA after the end', afterEnd((stream) => message(stream, text))],
    ['HEADERS after the end', afterEnd((stream) => headers(stream, literal('x', 'y'), flag.endStream))],
    ['trailers without an end', resetBy((stream) => headers(stream, literal('x', 'y')))],
    ['invalid trailers', resetBy((stream) => headers(stream, literal('X', 'y'), flag.endStream))],
    [
      'more data than content-length',
      floodOf((attacker) => () => {
        const stream = attacker.nextStream();
        return Buffer.concat([
          headers(stream, requestBlock('Count', literal('content-length', '1'))),
          message(stream, text),
        ]);
      }),
    ],
    ['an invalid header', floodOf((attacker) => () => headers(attacker.nextStream(), literal('x', 'y')))],
    ['DATA on a stream that was reset', onOpenCall((stream) => message(stream, text), literal('x', 'y'))],
  ])('%s', async (_, run) => {
    await flood(servers(), run, calm);
  });

  it('streams beyond the limit', async () => {
    const run = floodOf((attacker) => () => headers(attacker.nextStream(), countBlock));
    await flood(servers(), run, calm);
  });
});

describe('CONTINUATION (CVE-2024-27316)', () => {
  const continued = (part: Buffer) =>
    floodOf((attacker) => {
      attacker.socket.write(frame(type.headers, 0, 1, countBlock));
      return () => frame(type.continuation, 0, 1, part);
    });

  it.each([
    ['with fields', continued(literal('name', 'x'.repeat(1000)))],
    ['that are empty', continued(Buffer.alloc(0))],
    ['of one byte', continued(Buffer.of(0))],
  ])('frames %s end the connection', async (_, run) => {
    await flood(servers(), run, calm);
  });

  it('frames in complete blocks do not disturb others', async () => {
    const empty = frame(type.continuation, 0, 1);
    const end = frame(type.continuation, flag.endHeaders, 1);
    const run = floodOf((attacker) => () => {
      const stream = attacker.nextStream();
      const parts = [frame(type.headers, flag.endStream, stream, countBlock), ...Array(60).fill(empty), end];
      for (const part of parts.slice(1)) part.writeUInt32BE(stream, 5);
      return Buffer.concat(parts);
    });
    await flood(servers(), run);
  });
});

describe('frames that concern no call end the connection', () => {
  it.each([
    ['SETTINGS (CVE-2019-9515)', same(settings())],
    [
      'SETTINGS with many values (CVE-2019-9515)',
      same(settings(...Array.from({ length: 2000 }, (_, index) => [initialWindow, index] as const))),
    ],
    ['acknowledgements of SETTINGS', same(settingsAck)],
    ['PING (CVE-2019-9512)', same(ping)],
    ['acknowledgements of PING', same(frame(type.ping, flag.ack, 0, Buffer.alloc(8)))],
    ['empty DATA (CVE-2019-9518)', onOpenCall((stream) => frame(type.data, 0, stream))],
    [
      'DATA that is only padding (CVE-2019-9518)',
      onOpenCall((stream) => frame(type.data, flag.padded, stream, Buffer.alloc(101, 100))),
    ],
    [
      'PRIORITY (CVE-2019-9513)',
      floodOf((attacker) => () => {
        const stream = 2 * (attacker.nextStream() % 1000) + 1;
        return frame(type.priority, 0, stream, Buffer.concat([number(stream + 2), Buffer.of(16)]));
      }),
    ],
    ['WINDOW_UPDATE of the connection', same(windowUpdate(0, 1))],
    ['WINDOW_UPDATE of a call', onOpenCall((stream) => windowUpdate(stream, 1))],
    ['WINDOW_UPDATE of a closed stream', onOpenCall((stream) => windowUpdate(stream, 1), literal('x', 'y'))],
    ['unknown types', same(frame(99, 0xff, 1, Buffer.alloc(10)))],
    ['GOAWAY', onOpenCall(() => frame(type.goaway, 0, 0, Buffer.alloc(8)))],
  ])('%s', async (_, run) => {
    await flood(servers(), run, calm);
  });

  it('calls after GOAWAY', async () => {
    const run = floodOf((attacker) => {
      attacker.socket.write(headers(attacker.nextStream(), countBlock));
      attacker.socket.write(frame(type.goaway, 0, 0, Buffer.alloc(8)));
      return () => headers(attacker.nextStream(), echoBlock);
    });
    await flood(servers(), run, calm);
  });
});

describe('windows', () => {
  const send = (stream: number, messages: number, bytes: number) =>
    Buffer.concat([
      headers(stream, requestBlock('Send')),
      message(stream, Buffer.from(`${messages} ${bytes}`), flag.endStream),
    ]);

  it('that grow by single bytes end the connection (CVE-2019-9511)', async () => {
    const run = floodOf(
      (attacker) => {
        const stream = attacker.nextStream();
        attacker.socket.write(send(stream, 1000, 1000));
        return () => windowUpdate(stream, 1);
      },
      { settings: [[initialWindow, 0]] },
    );
    await flood(servers(), run, calm);
  });

  it.each([
    ['of the connection', () => windowUpdate(0, 1)],
    ['of one stream', () => windowUpdate(1, 1)],
    ['of all streams, by SETTINGS', () => Buffer.concat([settings([initialWindow, 1]), settings([initialWindow, 0])])],
  ])('of thousands of responses cost no more than one if they change: %s', async (_, make) => {
    const run = async ({ open, repeat }: Attack) => {
      const attacker = await open({ settings: [[initialWindow, 0]] });
      for (let index = 0; index < 400; index++) {
        await attacker.send(Buffer.concat(Array.from({ length: 10 }, () => send(attacker.nextStream(), 1, 100))));
      }
      await repeat(attacker, many(make));
      await Promise.race([attacker.closed, new Promise((end) => setTimeout(end, 300))]);
    };
    await flood(servers(), run, calm);
  });

  it('that are zero keep few responses in memory (CVE-2019-9517)', async () => {
    let held = 0;
    await flood(servers(), async ({ open, isOver, held: heldNow }) => {
      const attacker = await open({ settings: [[initialWindow, 0]] });
      while (!isOver()) await attacker.send(send(attacker.nextStream(), 1000, 60_000));
      held = Math.max(held, (await heldNow()).external);
      attacker.socket.destroy();
    });
    expect(held).toBeLessThan(150 * mib);
  });
});

describe('a client that never reads', () => {
  const openWide = async ({ open }: Attack) => {
    const attacker = await open({ settings: [[initialWindow, windowMax]] });
    attacker.socket.write(windowUpdate(0, windowMax - 65_535));
    attacker.socket.pause();
    // Fills the buffers of the system.
    for (let index = 0; index < 4; index++) {
      const stream = attacker.nextStream();
      attacker.socket.write(headers(stream, requestBlock('Send')));
      attacker.socket.write(message(stream, Buffer.from('200 60000'), flag.endStream));
    }
    await new Promise((end) => setTimeout(end, 200));
    return attacker;
  };

  it.each([
    ['PING', () => () => ping],
    ['SETTINGS', () => () => settings()],
    ['calls', (attacker: Attacker) => () => headers(attacker.nextStream(), countBlock, flag.endStream)],
    ['refused calls', (attacker: Attacker) => () => headers(attacker.nextStream(), literal('x', 'y'))],
    [
      'responses (CVE-2019-9517)',
      (attacker: Attacker) => () => {
        const stream = attacker.nextStream();
        return Buffer.concat([headers(stream, requestBlock('Late')), message(stream, text, flag.endStream)]);
      },
    ],
  ])('fills little memory with %s', async (_, make) => {
    let grown = 0;
    const before = await server.held();
    await flood(servers(), async (attack) => {
      const attacker = await openWide(attack);
      const next = make(attacker);
      for (let index = 0; index < 5000 && !attack.isOver(); index++) await attacker.send(next());
      const { heapUsed, external, heldBytes } = await attack.held();
      // The budget limits the bytes that it counts.
      grown = Math.max(grown, heapUsed + external - heldBytes - before.heapUsed - before.external);
      attacker.socket.destroy();
    });
    expect(grown / mib).toBeLessThan(40);
  });
});

describe('compressed headers (CVE-2016-6581)', () => {
  const large = literal('x-large', 'x'.repeat(4000), 0x40);
  const small = literal('x', '', 0x40);
  // The newest entry of the dynamic table, many times.
  const repeated = (times: number) => Buffer.alloc(times, 0x80 | 62);

  it.each([
    [
      'requests',
      (attacker: Attacker) => () =>
        headers(attacker.nextStream(), Buffer.concat([requestBlock('Count'), repeated(16_000)])),
    ],
    [
      'trailers',
      (attacker: Attacker) => () => {
        const stream = attacker.nextStream();
        return Buffer.concat([headers(stream, countBlock), headers(stream, repeated(16_000), flag.endStream)]);
      },
    ],
  ])('that become large again and again end the connection: %s', async (_, make) => {
    const run = floodOf((attacker) => {
      attacker.socket.write(headers(attacker.nextStream(), requestBlock('Count', large)));
      return make(attacker);
    });
    await flood(servers(), run, calm);
  });

  it('of thousands of open calls are counted and limited', async () => {
    let grown = 0;
    const before = await server.held();
    await flood(servers(), async (attack) => {
      const attacker = await attack.open();
      await attacker.send(headers(attacker.nextStream(), requestBlock('Count', small)));
      await openCalls(attacker, 4000, Buffer.concat([requestBlock('Count'), repeated(1900)]));
      const { heapUsed, external } = await attack.held();
      grown = Math.max(grown, heapUsed + external - before.heapUsed - before.external);
      attacker.socket.destroy();
    });
    expect(grown / mib).toBeLessThan(100);
  });
});

describe('what a server serves does not disturb others', () => {
  it('10,000 calls that are opened and left', async () => {
    let calls = 0;
    await flood(servers(), async (attack) => {
      const attacker = await attack.open();
      await openCalls(attacker, 10_000);
      calls = Math.max(calls, (await attack.held()).openCalls);
      attacker.socket.destroy();
    });
    expect(calls).toBeGreaterThan(0);
    // A connection has at most 4096. Those of a few connections before may not be closed yet.
    expect(calls).toBeLessThan(5 * 4096);
  });

  it.each([
    ['requests of few bytes', floodOf((attacker) => () => headers(attacker.nextStream(), echoBlock, flag.endStream))],
    ['DATA of one byte', onOpenCall((stream) => frame(type.data, 0, stream, Buffer.of(0)))],
    ['unknown frames of 16 KB', same(frame(99, 0, 0, Buffer.alloc(16_384)))],
  ])('%s', async (_, run) => {
    await flood(servers(), run);
  });
});
