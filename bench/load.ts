/** Puts load on a server and measures calls, latencies, and the CPU of all processes involved. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WebProtocol } from './http-connection.js';
import type { Numbers } from './scenario.js';
import { quantile } from './service.js';
import { readUsage } from './usage.js';

export interface Work {
  readonly address: string;
  /** Default: gRPC over HTTP/2. */
  readonly protocol?: WebProtocol;
  readonly connections: number;
  /** The address to connect from, so that an open server sees another caller. Only for gRPC. */
  readonly localAddress?: string;
  readonly op:
    | 'get'
    | 'get-by-email'
    | 'create'
    | 'update'
    | 'list'
    | 'batch-get'
    | 'batch-create'
    | 'health'
    | 'watch';
  /** Concurrent callers, each of which waits for an answer before the next call; or watchers. */
  readonly inFlight?: number;
  /** Instead of `inFlight`: calls per second, whether or not earlier calls have ended. */
  readonly perSecond?: number;
  readonly deadlineMs?: number;
  /** Sent with each call. */
  readonly token?: string;
  /** The number of users to pick from. */
  readonly users: number;
  /** Rows in one batch call. */
  readonly rows?: number;
  /** Each list starts at one of these, picked at random. Default: the first user. */
  readonly pageTokens?: readonly string[];
}

/** The arrays have one element for each call that ended. */
export interface LoadResult {
  /** Since the start of the measurement. */
  readonly endMs: readonly number[];
  readonly latencyMs: readonly number[];
  /** gRPC status codes. */
  readonly status: readonly number[];
  readonly seconds: number;
  /** Calls that were due but that the load process had no time to send. */
  readonly unsent: number;
  /** Connections that the server closed. */
  readonly lost: number;
  /** Changes that the first watcher received. */
  readonly changes: number;
  /** Watchers that received fewer bytes than the first one. */
  readonly behind: number;
}

export interface Load extends AsyncDisposable {
  readonly pid: number;
  /** Discards earlier results. */
  measure(): void;
  stop(): Promise<LoadResult>;
}

/** Resolves when the first calls are in flight, or when every watcher has received a message. */
export async function startLoad(work: Work): Promise<Load> {
  // 'advanced' because the result is a few large arrays.
  const child = fork(join(import.meta.dirname, 'load-process.js'), { serialization: 'advanced' });
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`The load process exited with ${code}.`);
  });
  failed.catch(() => {});
  child.send(work);
  await Promise.race([once(child, 'message'), failed]);
  return {
    pid: child.pid ?? Number.NaN,
    measure: () => child.send('measure'),
    async stop() {
      child.send('stop');
      const [result] = await Promise.race([once(child, 'message'), failed]);
      return result as LoadResult;
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill();
      await failed.catch(() => {});
    },
  };
}

/** The server under load, and the processes whose CPU is measured. */
export interface Target {
  readonly address: string;
  readonly pid: number;
  readonly postmasterPid: number | undefined;
  /** The number of users before the load. */
  readonly users: number;
  readonly pageTokens?: readonly string[];
  /** Committed transactions so far. */
  commits?(): Promise<number>;
  truncateLog?(): Promise<void>;
}

export interface Times {
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** CPU is in microseconds for each call that was answered with OK. */
export function numbersOf(result: LoadResult, cpuMs: readonly number[]): Numbers {
  const good = result.latencyMs.filter((_, index) => result.status[index] === 0);
  const [serviceUs = Number.NaN, postgresUs = Number.NaN, loadUs = Number.NaN] = cpuMs.map(
    (ms) => (ms * 1000) / good.length,
  );
  return {
    perSecond: good.length / result.seconds,
    p50Ms: quantile(good, 0.5),
    p99Ms: quantile(good, 0.99),
    serviceUs,
    postgresUs,
    loadUs,
  };
}

/** Throws if any call failed. */
export async function measureLoad(
  target: Target,
  work: Omit<Work, 'address' | 'users' | 'connections'> & { connections?: number },
  { warmUpMs, measureMs }: Times,
): Promise<Numbers> {
  const { address, users, pageTokens } = target;
  await using load = await startLoad({ connections: 4, address, users, pageTokens, ...work });
  await sleep(warmUpMs);
  const roots = [target.pid, target.postmasterPid, load.pid];
  const commitsBefore = (await target.commits?.()) ?? Number.NaN;
  load.measure();
  const before = readUsage(roots);
  await sleep(measureMs);
  const after = readUsage(roots);
  const commits = ((await target.commits?.()) ?? Number.NaN) - commitsBefore;
  const result = await load.stop();
  await target.truncateLog?.();

  const bad = result.status.filter((status) => status !== 0);
  if (bad.length > 0) {
    throw new Error(`${bad.length} of ${result.status.length} calls failed, one of them with status ${bad[0]}`);
  }
  const cpuMs = after.cpuMs.map((ms, index) => ms - (before.cpuMs[index] ?? Number.NaN));
  const ours = cpuMs.filter((ms) => !Number.isNaN(ms)).reduce((sum, ms) => sum + ms, 0);
  return {
    ...numbersOf(result, cpuMs),
    callsPerStatement: result.status.length / commits,
    otherCores: Math.max(0, after.machineCpuMs - before.machineCpuMs - ours) / measureMs,
  };
}

/** The id of the nth user that fill() creates. Ids are in order, like UUIDs of version 7. */
export function userId(index: number): string {
  return `01900000-0000-7000-8000-${index.toString(16).padStart(12, '0')}`;
}

export function userEmail(index: number): string {
  return `Seed.${index}@example.com`;
}
