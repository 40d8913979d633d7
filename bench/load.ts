/** Puts load on a server and says what that took: calls, latencies, and the CPU of everybody who took part. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WebProtocol } from './http-connection.js';
import type { Figures } from './scenario.js';
import { quantile } from './service.js';
import { readUsage } from './usage.js';

export interface Work {
  readonly address: string;
  /** Without it gRPC over HTTP/2. */
  readonly protocol?: WebProtocol;
  readonly connections: number;
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
  /** Callers each of whom waits for an answer before the next call; or watchers. */
  readonly inFlight?: number;
  /** Instead: calls that begin in a second, whatever becomes of those before. */
  readonly perSecond?: number;
  readonly deadlineMs?: number;
  /** How many there are, to pick from. */
  readonly users: number;
  /** In one call of a batch. */
  readonly rows?: number;
  /** Where lists begin, at random; none: at the first user. */
  readonly pageTokens?: readonly string[];
}

/** What became of each call that ended, by index. */
export interface LoadResult {
  /** Since the measurement began. */
  readonly endMs: readonly number[];
  readonly latencyMs: readonly number[];
  /** gRPC's codes. */
  readonly status: readonly number[];
  readonly seconds: number;
  /** Calls that were due and that the load's own process had no time for. */
  readonly unsent: number;
  /** Connections that the server has closed. */
  readonly lost: number;
  /** That the first watcher has got. */
  readonly changes: number;
  /** Watchers that have got fewer bytes than the first one. */
  readonly behind: number;
}

export interface Load extends AsyncDisposable {
  readonly pid: number;
  /** Forgets what was before. */
  measure(): void;
  stop(): Promise<LoadResult>;
}

/** Resolves when the first calls are on their way, or every watcher has heard from the server. */
export async function startLoad(work: Work): Promise<Load> {
  // Its answer is a few large lists.
  const child = fork(join(import.meta.dirname, 'load-process.js'), { serialization: 'advanced' });
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`the load ended with ${code}`);
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

/** What is loaded, and whose CPU counts. */
export interface Target {
  readonly address: string;
  readonly pid: number;
  readonly postmasterPid: number | undefined;
  /** How many users there were at first. */
  readonly users: number;
  readonly pageTokens?: readonly string[];
  /** Transactions so far. */
  commits?(): Promise<number>;
  truncateLog?(): Promise<void>;
}

export interface Times {
  readonly warmUpMs: number;
  readonly measureMs: number;
}

/** CPU is in microseconds for each call that was answered with OK. */
export function figuresOf(result: LoadResult, cpuMs: readonly number[]): Figures {
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

/** Throws where any call was not answered with OK. */
export async function measureLoad(
  target: Target,
  work: Omit<Work, 'address' | 'users' | 'connections'> & { connections?: number },
  { warmUpMs, measureMs }: Times,
): Promise<Figures> {
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
    ...figuresOf(result, cpuMs),
    callsPerStatement: result.status.length / commits,
    otherCores: Math.max(0, after.machineCpuMs - before.machineCpuMs - ours) / measureMs,
  };
}

/** The id of the nth user that fill() makes: in order, as UUIDs of version 7 are. */
export function userId(index: number): string {
  return `01900000-0000-7000-8000-${index.toString(16).padStart(12, '0')}`;
}

export function userEmail(index: number): string {
  return `Seed.${index}@example.com`;
}
