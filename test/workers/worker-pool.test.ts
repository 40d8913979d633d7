/** When the pool replaces a worker, with fake timers. recovery/workers.test.ts tests real processes. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createLog } from '../../src/telemetry/log.js';
import { WorkerPool } from '../../src/workers/worker-pool.js';
import type { WorkerEnd, WorkerProcess } from '../../src/workers/worker-process.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

interface Scripted extends WorkerProcess {
  readonly number: number;
  isClosed: boolean;
  serve(): Promise<void>;
  end(how?: Partial<WorkerEnd>): Promise<void>;
}

const settled = async () => {
  await vi.advanceTimersByTimeAsync(0);
};

async function startPool(count: number) {
  const lines: Record<string, unknown>[] = [];
  const workers: Scripted[] = [];
  const start = (number: number): WorkerProcess => {
    const serving = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<WorkerEnd>();
    serving.promise.catch(() => {});
    const worker: Scripted = {
      number,
      pid: workers.length,
      isClosed: false,
      serving: serving.promise,
      ended: ended.promise,
      close() {
        worker.isClosed = true;
      },
      kill: () => void worker.end({ signal: 'SIGKILL' }),
      snapshot: async () => [],
      onSiblingMessage() {},
      send() {},
      serve() {
        serving.resolve();
        return settled();
      },
      end(how) {
        serving.reject(how?.error ?? new Error('ended'));
        ended.resolve({ exitCode: undefined, signal: undefined, error: undefined, servedMs: 0, ...how });
        return settled();
      },
    };
    workers.push(worker);
    return worker;
  };
  const log = createLog({
    level: 'info',
    format: 'json',
    destination: { write: (text) => void lines.push(JSON.parse(text)) },
  });
  const pool = new WorkerPool({ count, start, closeMs: 1_000, log });
  const started = pool.start();
  for (const worker of [...workers]) await worker.serve();
  await started;
  const last = () => workers.at(-1) as Scripted;
  return { pool, workers, last, lines };
}

describe('a worker that exits', () => {
  it('is replaced at once, then after growing delays up to a maximum, and at once again after it served for a minute', async () => {
    const { workers, last } = await startPool(1);
    for (const delayMs of [0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]) {
      const before = workers.length;
      await last().end({ error: new Error('no start') });
      if (delayMs > 0) {
        await vi.advanceTimersByTimeAsync(delayMs - 1);
        expect(workers.length).toBe(before);
        await vi.advanceTimersByTimeAsync(1);
      }
      expect(workers.length).toBe(before + 1);
    }
    await last().serve();
    await last().end({ servedMs: 60_000 });
    expect(workers.length).toBe(11);
  });

  it('is not replaced again if its replacement is already starting', async () => {
    const { pool, workers } = await startPool(1);
    pool.restart();
    await settled();
    expect(workers.length).toBe(2);
    await workers[0]?.end();
    await workers[1]?.serve();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(workers.length).toBe(2);
  });

  it('is still replaced if its replacement fails to start', async () => {
    const { pool, workers, lines } = await startPool(2);
    pool.restart();
    await settled();
    await workers[0]?.end();
    await workers[2]?.end({ error: new Error('no start') });
    await vi.advanceTimersByTimeAsync(500);
    expect(workers.map(({ number }) => number)).toEqual([1, 2, 1, 1]);
    expect(workers[1]?.isClosed).toBe(false);
    expect(lines.at(-1)).toMatchObject({ level: 'error', msg: expect.stringMatching(/^the restart has stopped/) });
  });

  it('is not replaced if the pool closed it', async () => {
    const { pool, workers } = await startPool(2);
    const closed = pool.close(1_000);
    expect(workers.every(({ isClosed }) => isClosed)).toBe(true);
    for (const worker of workers) await worker.end({ exitCode: 0 });
    await closed;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(workers.length).toBe(2);
  });
});

describe('a restart', () => {
  it('closes each worker when its replacement serves, one after the other', async () => {
    const { pool, workers } = await startPool(2);
    pool.restart();
    await settled();
    expect(workers.map(({ isClosed }) => isClosed)).toEqual([false, false, false]);
    await workers[2]?.serve();
    expect(workers.map(({ isClosed }) => isClosed)).toEqual([true, false, false]);
    await workers[0]?.end({ exitCode: 0 });
    expect(workers.map(({ number }) => number)).toEqual([1, 2, 1, 2]);
    await workers[3]?.serve();
    await workers[1]?.end({ exitCode: 0 });
    expect(workers.map(({ isClosed }) => isClosed)).toEqual([true, true, false, false]);
  });
});
