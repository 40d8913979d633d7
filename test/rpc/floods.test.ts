/** Roster logs little while a client floods it. */
import { expect, it, onTestFinished } from 'vitest';
import { openAttacker } from '../http2/flood.js';
import { flag, headers, literal, ping, resetStream, settings, type } from '../http2/flood-frames.js';
import { frame } from '../http2/frame-bytes.js';
import { startTestServer } from './harness.js';

const call = Buffer.concat([
  // :method POST, :scheme http
  Buffer.of(0x83, 0x86),
  literal(':path', '/users.v1.UserService/GetUser'),
  literal('te', 'trailers'),
  literal('content-type', 'application/grpc'),
]);
// :method GET, :scheme http, :path /
const get = Buffer.of(0x82, 0x86, 0x84);

it.each([
  ['PING', () => ping, 0],
  ['SETTINGS', () => settings(), 0],
  ['unknown frames', () => frame(99, 0, 0), 0],
  ['empty DATA', () => frame(type.data, 0, 1), 0],
  ['calls that are cancelled', (stream: number) => Buffer.concat([headers(stream, call), resetStream(stream)]), 1],
  ['requests that are not gRPC', (stream: number) => headers(stream, get, flag.endStream), 1],
])('a flood of %s fills no log', async (_, make, linesMin) => {
  const server = await startTestServer();
  const attacker = await openAttacker(server.port);
  onTestFinished(() => {
    attacker.socket.destroy();
  });
  const startedMs = performance.now();
  for (let sent = 0; sent < 20_000 && !attacker.isClosed && attacker.code === undefined; sent += 100) {
    await attacker.send(Buffer.concat(Array.from({ length: 100 }, () => make(attacker.nextStream()))));
  }
  attacker.socket.destroy();
  await attacker.closed;
  await expect.poll(() => server.lines.length).toBeGreaterThanOrEqual(linesMin);
  const seconds = 1 + Math.ceil((performance.now() - startedMs) / 1000);
  const lines = server.lines.filter(({ level }) => level !== 'debug');
  // Those of each second are limited, and a slow machine needs several.
  expect(lines.length).toBeGreaterThanOrEqual(linesMin);
  expect(lines.length).toBeLessThan(2 + 102 * linesMin * seconds);
});
