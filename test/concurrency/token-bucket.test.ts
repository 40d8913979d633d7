import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../../src/concurrency/token-bucket.js';

describe('a token bucket', () => {
  it('has as many tokens at the start as its burst', () => {
    const bucket = new TokenBucket({ perSecond: 10, burst: 3 });
    expect([1, 2, 3, 4].map(() => bucket.take(5000))).toEqual([0, 0, 0, 100]);
  });

  it('returns the exact time until it has a token', () => {
    const bucket = new TokenBucket({ perSecond: 4, burst: 1 });
    expect(bucket.take(0)).toBe(0);
    expect(bucket.take(100)).toBe(150);
    expect(bucket.take(249)).toBe(1);
    expect(bucket.take(250)).toBe(0);
  });

  it('takes nothing when it is empty, so that refused calls do not delay the next one', () => {
    const bucket = new TokenBucket({ perSecond: 1, burst: 1 });
    bucket.take(0);
    for (let count = 0; count < 100; count++) bucket.take(500);
    expect(bucket.take(1000)).toBe(0);
  });

  it('is full when all tokens have come back', () => {
    const bucket = new TokenBucket({ perSecond: 10, burst: 5 });
    expect(bucket.isFull(0)).toBe(true);
    bucket.take(0);
    bucket.take(0);
    expect(bucket.isFull(199)).toBe(false);
    expect(bucket.isFull(200)).toBe(true);
  });

  it('never admits more than the burst and the rate allow, and admits a call that waits as long as it says', () => {
    const rates = fc.record({ perSecond: fc.integer({ min: 1, max: 1000 }), burst: fc.integer({ min: 1, max: 100 }) });
    const steps = fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 300 });
    fc.assert(
      fc.property(rates, steps, (rate, waits) => {
        const bucket = new TokenBucket(rate);
        let nowMs = 0;
        let admitted = 0;
        for (const waitMs of waits) {
          nowMs += waitMs;
          const leftMs = bucket.take(nowMs);
          if (leftMs === 0) admitted++;
          expect(admitted).toBeLessThanOrEqual(rate.burst + (nowMs * rate.perSecond) / 1000 + 1e-6);
          expect(leftMs).toBeLessThanOrEqual(1000 / rate.perSecond + 1e-6);
        }
        nowMs += bucket.take(nowMs);
        expect(bucket.take(nowMs)).toBeLessThanOrEqual(1000 / rate.perSecond + 1e-6);
      }),
    );
  });
});
