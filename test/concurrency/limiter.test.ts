import { describe, expect, it } from 'vitest';
import { createLimiter } from '../../src/concurrency/limiter.js';

const { signal } = new AbortController();

/** Work that runs until finish() is called, and records its start. */
function heldWork(started: string[], name: string) {
  const { promise, resolve } = Promise.withResolvers<string>();
  return {
    work: () => {
      started.push(name);
      return promise;
    },
    finish: () => resolve(name),
  };
}

/** Lets the continuations of settled promises run. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('a limiter', () => {
  it('limits the concurrency of each key, and runs the rest in order of arrival', async () => {
    const limiter = createLimiter({ concurrencyMax: 2, queuedMax: 10 });
    const started: string[] = [];
    const works = ['a', 'b', 'c', 'd'].map((name) => heldWork(started, name));
    const done = works.map(({ work }) => limiter.run('x', work, signal));
    const other = heldWork(started, 'other');
    const otherDone = limiter.run('y', other.work, signal);
    await settle();
    expect(started).toEqual(['a', 'b', 'other']);
    works[1]?.finish();
    expect(await done[1]).toBe('b');
    await settle();
    expect(started).toEqual(['a', 'b', 'other', 'c']);
    for (const { finish } of works) finish();
    other.finish();
    expect(await Promise.all([...done, otherDone])).toEqual(['a', 'b', 'c', 'd', 'other']);
    expect(started).toEqual(['a', 'b', 'other', 'c', 'd']);
  });

  it('continues after work that fails', async () => {
    const limiter = createLimiter({ concurrencyMax: 1, queuedMax: 10 });
    const failing = limiter.run('x', () => Promise.reject(new Error('failed')), signal);
    const next = limiter.run('x', async () => 'next', signal);
    await expect(failing).rejects.toThrow('failed');
    expect(await next).toBe('next');
    expect(await limiter.run('x', async () => 'later', signal)).toBe('later');
  });

  it('rejects if the signal aborts while waiting, and does not run the work', async () => {
    const limiter = createLimiter({ concurrencyMax: 1, queuedMax: 10 });
    const started: string[] = [];
    const [held, left, stays] = ['held', 'left', 'stays'].map((name) => heldWork(started, name));
    const abort = new AbortController();
    const heldDone = limiter.run('x', held?.work ?? Promise.reject, signal);
    const cancelledDone = limiter.run('x', left?.work ?? Promise.reject, abort.signal);
    const staysDone = limiter.run('x', stays?.work ?? Promise.reject, signal);
    abort.abort(new Error('gone'));
    await expect(cancelledDone).rejects.toThrow('gone');
    await expect(limiter.run('x', async () => '', abort.signal)).rejects.toThrow('gone');
    held?.finish();
    stays?.finish();
    expect(await Promise.all([heldDone, staysDone])).toEqual(['held', 'stays']);
    expect(started).toEqual(['held', 'stays']);
  });

  it('rejects with OVERLOADED if too many wait, and accepts work again when fewer do', async () => {
    const limiter = createLimiter({ concurrencyMax: 1, queuedMax: 2 });
    const started: string[] = [];
    const works = ['a', 'b', 'c'].map((name) => heldWork(started, name));
    const done = works.map(({ work }) => limiter.run('x', work, signal));
    await expect(limiter.run('x', async () => '', signal)).rejects.toMatchObject({ reason: 'OVERLOADED' });
    works[0]?.finish();
    await done[0];
    const late = limiter.run('x', async () => 'late', signal);
    for (const { finish } of works) finish();
    expect(await late).toBe('late');
  });
});
