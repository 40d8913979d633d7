import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { settlesWithin, unlessAborted } from '../../src/concurrency/abort.js';

const never = new Promise<never>(() => {});
const failed = () => Promise.reject(new Error('failed'));

describe('unlessAborted', () => {
  it('settles like the promise, and leaves nothing on the signal', async () => {
    const { signal } = new AbortController();
    expect(await unlessAborted(Promise.resolve(1), signal)).toBe(1);
    await expect(unlessAborted(failed(), signal)).rejects.toThrow('failed');
    expect(await unlessAborted(Promise.resolve(2), undefined)).toBe(2);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('rejects with the reason of a signal that aborts before', async () => {
    const abort = new AbortController();
    const waiting = unlessAborted(never, abort.signal);
    abort.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    await expect(unlessAborted(Promise.resolve(1), abort.signal)).rejects.toThrow('gone');
    await expect(unlessAborted(failed(), abort.signal)).rejects.toThrow('gone');
  });
});

describe('settlesWithin', () => {
  it('resolves with whether the promise settles in time', async () => {
    const { signal } = new AbortController();
    expect(await settlesWithin(Promise.resolve(), 60_000, signal)).toBe(true);
    expect(await settlesWithin(failed(), 60_000, signal)).toBe(true);
    expect(await settlesWithin(never, 1)).toBe(false);
    expect(await settlesWithin(never, 1, signal)).toBe(false);
  });

  it('rejects with the reason of a signal that aborts before', async () => {
    const abort = new AbortController();
    const waiting = settlesWithin(never, 60_000, abort.signal);
    abort.abort(new Error('gone'));
    await expect(waiting).rejects.toThrow('gone');
    await expect(settlesWithin(Promise.resolve(), 60_000, abort.signal)).rejects.toThrow('gone');
  });
});
