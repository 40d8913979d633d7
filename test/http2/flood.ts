/** Floods a server from bare sockets, and compares a well-behaved caller beside the flood with one of a quiet server. */
import { type ChildProcess, fork, type Serializable } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished } from 'vitest';
import { type Frame, frameParser } from '../grpc-server/frames.js';
import { settings } from './flood-frames.js';
import { preface } from './frame-bytes.js';

const mib = 1024 * 1024;

interface Held {
  readonly heapUsed: number;
  readonly external: number;
  readonly openCalls: number;
  /** The bytes that the budget of the process counts. */
  readonly heldBytes: number;
}

export interface FloodedServer {
  readonly port: number;
  /** Returns the numbers after a garbage collection. */
  held(): Promise<Held>;
  /** Everything that the process has printed. */
  printed(): string;
  /** The milliseconds of CPU time of each turn of its event loop since the last time. */
  turns(): Promise<readonly number[]>;
  stop(): void;
}

function start(file: string, args: readonly string[], nodeArgs: readonly string[] = []): ChildProcess {
  return fork(path.join(import.meta.dirname, file), args, { execArgv: [...nodeArgs], silent: true });
}

async function receive<Message>(child: ChildProcess): Promise<Message> {
  const exited = new AbortController();
  const onExit = () => exited.abort(new Error('The process has ended.'));
  child.once('exit', onExit);
  try {
    const [message] = await once(child, 'message', { signal: exited.signal });
    return message;
  } finally {
    child.off('exit', onExit);
  }
}

async function ask<Message>(child: ChildProcess, message: Serializable): Promise<Message> {
  const answer = receive<Message>(child);
  child.send(message);
  return answer;
}

/** `options` are those of createServer(). */
export async function startFloodedServer(options: object = {}): Promise<FloodedServer> {
  const child = start('flood-server.mjs', [JSON.stringify(options)], ['--expose-gc']);
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => {
      printed += chunk;
    });
  }
  const { port } = await receive<{ port: number }>(child);
  return {
    port,
    held: () => ask<Held>(child, 'held'),
    printed: () => printed,
    turns: () => ask<number[]>(child, 'turns'),
    stop: () => child.kill(),
  };
}

interface Measured {
  readonly times: readonly number[];
  readonly wrong: number;
}

export interface Caller {
  start(): void;
  /** Resolves with what the caller has measured of each server. */
  end(): Promise<readonly Measured[]>;
  stop(): void;
}

export async function startCaller(servers: readonly FloodedServer[]): Promise<Caller> {
  const child = start(
    'flood-caller.mjs',
    servers.map(({ port }) => String(port)),
  );
  await receive(child);
  return {
    start: () => child.send('start'),
    end: () => ask(child, 'end'),
    stop: () => child.kill(),
  };
}

export class Attacker {
  readonly counts = new Map<string, number>();
  /** The error code of the server's last GOAWAY. */
  code: number | undefined;
  isClosed = false;
  readonly closed: Promise<void>;
  #nextStream = 1;

  constructor(
    readonly socket: Socket,
    onFrame: (frame: Frame) => void,
  ) {
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.isClosed = true;
        resolve();
      });
    });
    socket.on('error', () => {});
    socket.on(
      'data',
      frameParser((frame) => {
        this.counts.set(frame.type, (this.counts.get(frame.type) ?? 0) + 1);
        if (frame.type === 'GOAWAY') this.code = frame.payload.readUInt32BE(4);
        onFrame(frame);
      }),
    );
  }

  nextStream(): number {
    this.#nextStream += 2;
    return this.#nextStream - 2;
  }

  /** Resolves when the system has taken the bytes, or at the end of the connection. */
  async send(bytes: Buffer): Promise<void> {
    if (this.isClosed || this.code !== undefined) return;
    if (this.socket.write(bytes)) await setImmediate();
    else await Promise.race([this.closed, once(this.socket, 'drain').catch(() => {}), sleep(500)]);
  }
}

export interface AttackerOptions {
  readonly settings?: readonly (readonly [id: number, value: number])[];
  /** Sent instead of the preface and SETTINGS. */
  readonly first?: Buffer;
  readonly onFrame?: (frame: Frame, attacker: Attacker) => void;
}

export async function openAttacker(port: number, options: AttackerOptions = {}): Promise<Attacker> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const attacker: Attacker = new Attacker(socket, (frame) => options.onFrame?.(frame, attacker));
  await Promise.race([once(socket, 'connect'), attacker.closed]);
  socket.write(options.first ?? Buffer.concat([preface, settings(...(options.settings ?? []))]));
  return attacker;
}

export interface Attack {
  readonly attackers: readonly Attacker[];
  open(options?: AttackerOptions): Promise<Attacker>;
  /** Sends the same again until the server ends the connection or the time of the flood has passed. */
  repeat(attacker: Attacker, bytes: () => Buffer): Promise<void>;
  isOver(): boolean;
  held(): Promise<Held>;
}

export interface FloodTest {
  readonly server: FloodedServer;
  /** A server that is not flooded. */
  readonly quiet: FloodedServer;
  readonly caller: Caller;
}

const floodMs = 1000;
// A busy machine needs more time until the server has received enough.
const longestMs = 30_000;
// Other work of the machine delays single calls of both servers by this much.
const quietMsMin = 10;
const timesQuiet = 5;
// The CPU time that the server may use before it serves other connections.
const turnMsMax = 100;

/**
 * Runs an attack again and again for a second, and until the server has ended one of its connections. Returns them.
 *
 * A caller has a p99 below 5 times that of a quiet server on the same machine at the same time. A machine that does other
 * work delays a flooded server more than a quiet one, because it prefers processes that use little. So a slow answer counts
 * only if the server has used much CPU time without serving other connections.
 */
export async function flood(
  { server, quiet, caller }: FloodTest,
  run: (attack: Attack) => Promise<void>,
  /** The error with which the server must end at least one of the connections. */
  code?: number,
): Promise<readonly Attacker[]> {
  const before = await server.held();
  const attackers: Attacker[] = [];
  onTestFinished(() => {
    for (const { socket } of attackers) socket.destroy();
  });
  await server.turns();
  caller.start();
  const hasEnded = () => code === undefined || attackers.some((attacker) => attacker.code === code);
  await runFor(server, attackers, run, hasEnded);
  const [flooded, calm] = await caller.end();
  const turns = await server.turns();
  for (const { socket } of attackers) socket.destroy();
  expect([flooded?.wrong, calm?.wrong]).toEqual([0, 0]);
  expect(hasEnded()).toBe(true);
  if (p99(flooded?.times) >= timesQuiet * Math.max(quietMsMin, p99(calm?.times))) {
    expect(p99(turns)).toBeLessThan(turnMsMax);
  }
  await expectReleased(server, before);
  expect(server.printed()).toBe('');
  expect(quiet.printed()).toBe('');
  return attackers;
}

async function runFor(
  server: FloodedServer,
  attackers: Attacker[],
  run: (attack: Attack) => Promise<void>,
  hasEnded: () => boolean,
): Promise<void> {
  const startedMs = performance.now();
  const isOver = () => {
    const ms = performance.now() - startedMs;
    return ms > longestMs || (ms > floodMs && hasEnded());
  };
  const attack: Attack = {
    attackers,
    isOver,
    held: () => server.held(),
    async open(options) {
      const attacker = await openAttacker(server.port, options);
      attackers.push(attacker);
      return attacker;
    },
    async repeat(attacker, bytes) {
      while (!isOver() && !attacker.isClosed && attacker.code === undefined) await attacker.send(bytes());
    },
  };
  while (!isOver()) {
    await run(attack);
    // A connection that the server has closed for another reason would make this a loop.
    await sleep(10);
  }
}

function p99(times: readonly number[] = []): number {
  const sorted = [...times].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.POSITIVE_INFINITY;
}

/** The calls of closed connections end, and their memory is freed. */
export async function expectReleased(server: FloodedServer, before: Held): Promise<void> {
  await expect
    .poll(
      async () => {
        const { heapUsed, external, openCalls, heldBytes } = await server.held();
        const grown = heapUsed + external - before.heapUsed - before.external;
        return { grown: Math.max(0, Math.floor(grown / (8 * mib))), openCalls, heldBytes: heldBytes > mib };
      },
      { timeout: 20_000, interval: 100 },
    )
    .toEqual({ grown: 0, openCalls: 0, heldBytes: false });
}
