/** A Postgres and services over it for a measurement, each a process of its own, and all gone at its end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { startEmbeddedPostgres } from '../src/store/embedded-postgres.js';

const main = resolve(import.meta.dirname, '../src/main.js');

export interface BenchDatabase extends AsyncDisposable {
  readonly url: string;
}

/** The one of DATABASE_URL, which should be an empty one, or an embedded one that is deleted afterwards. */
export async function openBenchDatabase(): Promise<BenchDatabase> {
  const given = process.env.DATABASE_URL;
  if (given !== undefined) return { url: given, [Symbol.asyncDispose]: async () => {} };
  const folder = await mkdtemp(join(tmpdir(), 'roster-bench-'));
  const embedded = await startEmbeddedPostgres({ dataDir: join(folder, 'data') });
  return {
    url: embedded.url,
    async [Symbol.asyncDispose]() {
      await embedded.stop();
      await Promise.all([folder, embedded.dataDir].map((path) => rm(path, { recursive: true, force: true })));
    },
  };
}

export interface BenchService extends AsyncDisposable {
  readonly address: string;
  readonly process: ChildProcess;
  /** The most memory that it has had so far, in MiB. Linux only; else NaN. */
  peakMemory(): Promise<number>;
}

/** Resolves when it serves. Logs warnings only, as the measured thing should not be the terminal. */
export async function startService(databaseUrl: string, settings: Record<string, string> = {}): Promise<BenchService> {
  const child = spawn(process.execPath, [main, 'serve'], {
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      DATABASE_URL: databaseUrl,
      GRPC_ADDRESS: 'localhost:0',
      LOG_FORMAT: 'json',
      ...settings,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const address = await new Promise<string>((resolveAddress, reject) => {
    createInterface(child.stdout).on('line', (line) => {
      const { msg, address } = JSON.parse(line);
      if (msg === 'listening') resolveAddress(address);
    });
    exited.then(([code]) => reject(new Error(`the service ended with ${code}`)));
  });
  return {
    address,
    process: child,
    async peakMemory() {
      const status = await readFile(`/proc/${child.pid}/status`, 'utf8').catch(() => '');
      return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

/** The value below which a share of them lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
