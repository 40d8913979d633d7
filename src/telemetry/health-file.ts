/**
 * Keeps a file that says whether this process serves, for checks inside the container (scripts/container/healthcheck).
 *
 * A check of a file works with any address, with TLS and with client certificates, and needs no Node, which takes 30 to
 * 60 ms of CPU to start.
 */
import { rename, rm, writeFile } from 'node:fs/promises';
import { uptime } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from './log.js';

// A write takes about 0.1 ms of CPU.
const intervalMs = 1_000;
// As long as /readyz may take in a usual probe. A busy event loop is late by less.
const validSeconds = 4;

/**
 * The file's name is `path` and the process id, because each worker has its own file. Returns a function that removes the
 * file, and never rejects.
 */
export function keepHealthFile(
  path: string | undefined,
  isServing: () => boolean | Promise<boolean>,
  log: Log,
): () => Promise<void> {
  if (path === undefined) return async () => {};
  const file = `${path}.${process.pid}`;
  const stop = new AbortController();
  const { signal } = stop;

  async function write(): Promise<void> {
    const state = (await isServing()) ? 'serving' : 'not serving';
    // In seconds since the machine started, because the clock can be set, and because a shell can read /proc/uptime.
    const validUntil = Math.ceil(uptime()) + validSeconds;
    await writeFile(`${file}.new`, `${validUntil} ${state}\n`);
    // A check never reads a partial file.
    await rename(`${file}.new`, file);
  }

  async function run(): Promise<void> {
    let hasFailed = false;
    while (!signal.aborted) {
      try {
        await write();
        hasFailed = false;
      } catch (error) {
        if (!hasFailed) log.warn({ error }, 'cannot write the health file');
        hasFailed = true;
      }
      await sleep(intervalMs, undefined, { signal, ref: false }).catch(() => {});
    }
    for (const name of [file, `${file}.new`]) await rm(name, { force: true }).catch(() => {});
  }

  const running = run();
  return () => {
    stop.abort();
    return running;
  };
}
