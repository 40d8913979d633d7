/** The limit of bytes that a process holds for its clients: when it is full, and whose bytes are given up. */
import { describe, expect, it } from 'vitest';
import { createByteBudget } from '../../src/grpc-server/byte-budget.js';

const kib = 1024;

describe('a budget of bytes', () => {
  it('admits new calls up to three quarters of it', () => {
    const budget = createByteBudget(100);
    const one = budget.open(() => {});
    const other = budget.open(() => {});
    for (const hold of [one, other]) hold.recordTransfer(100_000_000_000);
    one.add(50);
    other.add(25);
    expect(budget.admits()).toBe(true);
    other.add(1);
    expect(budget.admits()).toBe(false);
    one.remove(1);
    expect(budget.admits()).toBe(true);
    one.add(1);
    other.release();
    other.release();
    other.add(1000);
    expect([other.bytes(), budget.admits()]).toEqual([0, true]);
    one.add(26);
    expect([one.bytes(), budget.admits()]).toEqual([76, false]);
  });

  it('gives up slow clients for a new call, but not fast ones', async () => {
    const budget = createByteBudget(100);
    const givenUp: string[] = [];
    const fast = budget.open(() => givenUp.push('fast'));
    fast.recordTransfer(100_000_000_000);
    fast.add(40);
    budget.open(() => givenUp.push('slow')).add(40);
    // A client that has moved nothing is slow after a second.
    await expect.poll(() => budget.admits(), { timeout: 30_000 }).toBe(true);
    expect(givenUp).toEqual(['slow']);
    fast.add(40);
    expect(budget.admits()).toBe(false);
    expect(givenUp).toEqual(['slow']);
  });

  it('gives up the slowest clients first, and no more of them than needed', () => {
    const budget = createByteBudget(300 * kib);
    const givenUp: string[] = [];
    const open = (name: string) => budget.open(() => givenUp.push(name));
    const fast = open('fast');
    const slow = open('slow');
    const slowest = open('slowest');
    for (const hold of [fast, slow, slowest]) hold.add(100 * kib);
    // So far apart that the few milliseconds between their starts do not matter.
    fast.recordTransfer(100_000_000_000);
    slow.recordTransfer(100_000_000);
    open('idle');
    expect(givenUp).toEqual([]);
    fast.add(1);
    expect(givenUp).toEqual(['slowest']);
    fast.add(150 * kib);
    expect(givenUp).toEqual(['slowest', 'slow']);
  });

  it('gives up even the only holder if it holds too much', () => {
    const budget = createByteBudget(10);
    let isGivenUp = false;
    const hold = budget.open(() => {
      isGivenUp = true;
    });
    hold.add(11);
    expect([isGivenUp, hold.bytes(), budget.admits()]).toEqual([true, 0, true]);
  });
});
