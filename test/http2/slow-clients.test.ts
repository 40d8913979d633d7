/** Clients that send slowly or nothing lose only their own connection. Clients that send much keep theirs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Attacker, expectReleased, type FloodedServer, openAttacker, startFloodedServer } from './flood.js';
import {
  flag,
  headers,
  message,
  ping,
  requestBlock,
  resetStream,
  settings,
  type,
  windowUpdate,
} from './flood-frames.js';
import { frame, preface } from './frame-bytes.js';

const mib = 1024 * 1024;
const initialWindow = 4;
const long = Buffer.alloc(10_000);

async function start(connections: object = {}): Promise<FloodedServer> {
  const server = await startFloodedServer({ connections });
  onTestFinished(() => server.stop());
  return server;
}

async function open(server: FloodedServer, options?: Parameters<typeof openAttacker>[1]): Promise<Attacker> {
  const attacker = await openAttacker(server.port, options);
  onTestFinished(() => {
    attacker.socket.destroy();
  });
  return attacker;
}

describe('a client that sends a byte at a time', () => {
  const begin = Buffer.concat([preface, settings()]);
  const call = headers(1, requestBlock('Count'));

  it.each([
    ['of the preface', Buffer.alloc(0), preface],
    ['of the first SETTINGS', preface, settings([initialWindow, 65_535])],
    ['of the header of a frame', begin, ping.subarray(0, 8)],
    ['of a header block', begin, call],
    ['of many CONTINUATION frames', Buffer.concat([begin, frame(type.headers, 0, 1)]), frame(type.continuation, 0, 1)],
    ['of a body', Buffer.concat([begin, call]), message(1, long)],
  ])('%s has one time limit for all of them', async (_, first, slow) => {
    const server = await start({ handshakeMs: 500 });
    const before = await server.held();
    const attacker = await open(server, { first });
    // Without the limit, this would take at least 7 seconds more.
    let sent = 0;
    while (!attacker.isClosed && sent < 200) {
      attacker.socket.write(slow.subarray(sent % slow.length, (sent % slow.length) + 1));
      sent++;
      await Promise.race([attacker.closed, sleep(40)]);
    }
    expect(attacker.isClosed).toBe(true);
    await expectReleased(server, before);
  });
});

it('a client that never acknowledges SETTINGS costs nothing, and keeps its connection', async () => {
  const server = await start({ keepaliveTimeoutMs: 50 });
  let answers = 0;
  const client = await open(server, {
    onFrame({ type: name }) {
      if (name === 'DATA') answers++;
    },
  });
  await sleep(300);
  const stream = client.nextStream();
  client.socket.write(Buffer.concat([headers(stream, requestBlock('Echo')), message(stream, long, flag.endStream)]));
  await expect.poll(() => answers, { timeout: 20_000 }).toBe(1);
});

describe('a thousand connections', () => {
  it.each([
    ['that send nothing', Buffer.alloc(0)],
    [
      'that send a part of a frame',
      Buffer.concat([preface, settings(), frame(type.data, 0, 1, Buffer.alloc(16_384)).subarray(0, 20)]),
    ],
  ])('%s take little memory, and are closed', async (_, first) => {
    const server = await start({ handshakeMs: 3000 });
    const before = await server.held();
    const attackers = await Promise.all(Array.from({ length: 1000 }, () => open(server, { first })));
    const { heapUsed, external } = await server.held();
    expect((heapUsed + external - before.heapUsed - before.external) / attackers.length).toBeLessThan(50_000);
    await Promise.all(attackers.map(({ closed }) => closed));
    await expectReleased(server, before);
  });
});

/** Reads a response as grpc-go does: it extends the windows by a quarter, and sends a PING whenever none is under way. */
async function download(server: FloodedServer, messages: number, bytes: number) {
  let received = 0;
  let unread = 0;
  let isPinging = false;
  let pings = 0;
  let end: () => void = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const client = await open(server, {
    onFrame({ type: name, stream, payload, isEndOfStream }, { socket }) {
      if (name === 'PING') isPinging = false;
      if (isEndOfStream) end();
      if (name !== 'DATA') return;
      received += payload.length;
      unread += payload.length;
      if (unread > 16_384) {
        socket.write(Buffer.concat([windowUpdate(stream, unread), windowUpdate(0, unread)]));
        unread = 0;
      }
      if (isPinging) return;
      isPinging = true;
      pings++;
      socket.write(ping);
    },
  });
  client.socket.write(headers(1, requestBlock('Send')));
  client.socket.write(message(1, Buffer.from(`${messages} ${bytes}`), flag.endStream));
  await Promise.race([ended, client.closed]);
  return { received, pings, code: client.code };
}

describe('a client that measures the network', () => {
  it('receives 256 MiB', async () => {
    const { received, pings, code } = await download(await start(), 4096, 65_536);
    expect([received, code]).toEqual([4096 * (65_536 + 5), undefined]);
    expect(pings).toBeGreaterThan(10);
  });

  it('receives 100,000 small messages', async () => {
    const { received, code } = await download(await start(), 100_000, 20);
    expect([received, code]).toEqual([100_000 * 25, undefined]);
  });
});

it('a client may cancel 5,000 calls a second for ten seconds while others are answered', async () => {
  const server = await start();
  let answers = 0;
  const client = await open(server, {
    onFrame({ type: name }) {
      if (name === 'DATA') answers++;
    },
  });
  const startedMs = performance.now();
  let calls = 0;
  let batches = 0;
  while (!client.isClosed && client.code === undefined && performance.now() - startedMs < 10_000) {
    const frames: Buffer[] = [];
    // As many as are due.
    while (calls < 5 * (performance.now() - startedMs) && frames.length < 1000) {
      const stream = client.nextStream();
      frames.push(headers(stream, requestBlock('Count')), resetStream(stream));
      calls++;
    }
    const stream = client.nextStream();
    frames.push(headers(stream, requestBlock('Echo')), message(stream, Buffer.from('text'), flag.endStream));
    batches++;
    client.socket.write(Buffer.concat(frames));
    await sleep(10);
  }
  await expect.poll(() => answers, { timeout: 20_000 }).toBe(batches);
  expect(client.code).toBeUndefined();
});

describe('an upload', () => {
  /** Sends parts of one request as far as the windows permit, and returns the answer. */
  async function upload(
    server: FloodedServer,
    parts: readonly Buffer[],
    payloadBytes: number,
  ): Promise<string | undefined> {
    let answer: string | undefined;
    const windows = [65_535, 65_535];
    let wake = () => {};
    const client = await open(server, {
      onFrame({ type: name, stream, payload }) {
        if (name === 'DATA') answer = payload.subarray(5).toString();
        if (name === 'WINDOW_UPDATE') windows[stream] = (windows[stream] ?? 0) + payload.readUInt32BE(0);
        wake();
      },
    });
    client.socket.write(headers(1, requestBlock('Count')));
    for (const part of parts) {
      while (Math.min(...windows) < payloadBytes && !client.isClosed) {
        await Promise.race([
          client.closed,
          new Promise<void>((resolve) => {
            wake = resolve;
          }),
        ]);
      }
      for (const index of [0, 1]) windows[index] = (windows[index] ?? 0) - payloadBytes;
      if (!client.socket.write(part)) await client.send(Buffer.alloc(0));
    }
    client.socket.write(frame(type.data, flag.endStream, 1));
    await expect.poll(() => answer !== undefined || client.isClosed, { timeout: 30_000 }).toBe(true);
    return answer;
  }

  it('may have many small frames', async () => {
    const frames = Buffer.concat(Array.from({ length: 100 }, () => message(1, Buffer.alloc(10))));
    expect(await upload(await start(), Array<Buffer>(2000).fill(frames), 1500)).toBe('200000 2000000');
  });

  it('may have 256 MiB', async () => {
    const one = message(1, Buffer.alloc(16_000));
    const messages = Math.ceil((256 * mib) / 16_000);
    expect(await upload(await start(), Array<Buffer>(messages).fill(one), 16_005)).toBe(
      `${messages} ${messages * 16_000}`,
    );
  });

  it('may go on for longer than the limit of a frame although all reads end within a frame', async () => {
    const server = await start({ handshakeMs: 2000 });
    const client = await open(server);
    let answer = '';
    client.socket.on('data', (bytes) => {
      answer += bytes.toString('latin1');
    });
    const one = message(1, Buffer.alloc(10));
    const middle = Buffer.concat([one.subarray(12), one.subarray(0, 12)]);
    client.socket.write(Buffer.concat([headers(1, requestBlock('Count')), one.subarray(0, 12)]));
    const messages = 250;
    for (let sent = 1; sent < messages; sent++) {
      client.socket.write(middle);
      await sleep(20);
    }
    client.socket.write(Buffer.concat([one.subarray(12), frame(type.data, flag.endStream, 1)]));
    await expect.poll(() => answer, { timeout: 20_000 }).toContain(`${messages} ${messages * 10}`);
  });
});
