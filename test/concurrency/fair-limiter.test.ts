/** Work of several keys that shares a limit. */
import { describe, expect, it } from 'vitest';
import { FairLimiter } from '../../src/concurrency/fair-limiter.js';

/** Work that the test finishes, and the order in which it was started. */
function createWork(options: ConstructorParameters<typeof FairLimiter>[0]) {
  const limiter = new FairLimiter(options);
  const started: string[] = [];
  const running: PromiseWithResolvers<void>[] = [];
  const outcomes: string[] = [];
  const run = (key: string, name: string) =>
    limiter
      .run(key, () => {
        started.push(name);
        const work = Promise.withResolvers<void>();
        running.push(work);
        return work.promise;
      })
      .then(
        () => outcomes.push(name),
        (error: { reason?: string }) => outcomes.push(`${name} ${error.reason ?? 'failed'}`),
      );
  const finishOne = async () => {
    running.shift()?.resolve();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { run, started, outcomes, running, finishOne };
}

describe('the fair limiter', () => {
  it('starts work of each waiting key in turn', async () => {
    const { run, started, finishOne } = createWork({ concurrencyMax: 1, queuedPerKeyMax: 10, queuedMax: 100 });
    for (const name of ['a1', 'a2', 'a3', 'a4']) void run('a', name);
    for (const name of ['b1', 'b2']) void run('b', name);
    void run('c', 'c1');
    for (let count = 0; count < 7; count++) await finishOne();
    expect(started).toEqual(['a1', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4']);
  });

  it('refuses what is too much for one key, and leaves room for others', async () => {
    const { run, outcomes, started, finishOne } = createWork({ concurrencyMax: 1, queuedPerKeyMax: 2, queuedMax: 3 });
    for (const name of ['a1', 'a2', 'a3', 'a4']) void run('a', name);
    for (const name of ['b1', 'b2']) void run('b', name);
    await new Promise((resolve) => setImmediate(resolve));
    // a4 is one too many for its key, and a3 makes room for b2.
    expect(outcomes).toEqual(['a4 OVERLOADED', 'a3 OVERLOADED']);
    for (let count = 0; count < 4; count++) await finishOne();
    expect(started).toEqual(['a1', 'a2', 'b1', 'b2']);
  });

  it('continues after work that fails', async () => {
    const { run, outcomes, running, finishOne } = createWork({ concurrencyMax: 1, queuedPerKeyMax: 2, queuedMax: 3 });
    void run('a', 'a1');
    void run('a', 'a2');
    running.shift()?.reject(new Error('a bug'));
    await new Promise((resolve) => setImmediate(resolve));
    await finishOne();
    expect(outcomes).toEqual(['a1 failed', 'a2']);
  });
});
