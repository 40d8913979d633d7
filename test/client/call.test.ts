/** Deadlines and retries of a call, without a server. */
import { describe, expect, it } from 'vitest';
import { deadlineIn, grpcTimeout, withRetries } from '../../src/client/call.js';
import { RosterError } from '../../src/client/index.js';

describe('grpc-timeout', () => {
  it.each([
    [0.2, '1m'],
    [1500.5, '1501m'],
    [99_999_999, '99999999m'],
    [100_000_000, '100000S'],
    [2 ** 31 - 1, '2147483S'],
  ])('writes %d ms as %s', (leftMs, text) => {
    expect(grpcTimeout(leftMs)).toBe(text);
  });
});

describe('retries', () => {
  it('do not start if the deadline is before the next attempt', async () => {
    const failure = new RosterError('a/b', 'UNAVAILABLE', 'Not now.');
    let attempts = 0;
    const attempt = () => {
      attempts++;
      return Promise.reject(failure);
    };
    // The first wait is at least 50 ms.
    await expect(withRetries({ attemptsMax: 3, deadline: deadlineIn(49), signal: undefined }, attempt)).rejects.toBe(
      failure,
    );
    expect(attempts).toBe(1);
  });

  it('do not start if an abort ends the wait', async () => {
    const abort = new AbortController();
    const attempt = () => {
      // Runs after the wait has started.
      setImmediate(() => abort.abort());
      return Promise.reject(new RosterError('a/b', 'UNAVAILABLE', 'Not now.'));
    };
    await expect(
      withRetries({ attemptsMax: 3, deadline: undefined, signal: abort.signal }, attempt),
    ).rejects.toMatchObject({ name: 'AbortError' });
  });
});
