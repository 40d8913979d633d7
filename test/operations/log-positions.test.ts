import { describe, expect, it } from 'vitest';
import { createLogPositions } from '../../src/operations/log-positions.js';

/** Positions at the times 0, 500, 1000 and so on. */
function positionsOf(...positions: bigint[]) {
  const log = createLogPositions(60_000);
  for (const [index, position] of positions.entries()) log.add(position, index * 500);
  return log;
}

describe('the lag of a replica', () => {
  it('is unknown before the primary was read, and before the replica has reached the first position', () => {
    expect(createLogPositions(60_000).lagMsOf(5n)).toBe(Number.POSITIVE_INFINITY);
    expect(positionsOf(10n, 20n).lagMsOf(9n)).toBe(Number.POSITIVE_INFINITY);
  });

  it('is 0 if it has the latest position, or a later one', () => {
    const log = positionsOf(10n, 20n);
    expect(log.lagMsOf(20n)).toBe(0);
    expect(log.lagMsOf(21n)).toBe(0);
    expect(log.last).toBe(20n);
  });

  it('is the time since the primary had its position', () => {
    const log = positionsOf(10n, 20n, 30n, 40n);
    expect(log.lagMsOf(30n)).toBe(500);
    expect(log.lagMsOf(29n)).toBe(1000);
    expect(log.lagMsOf(10n)).toBe(1500);
  });

  it('does not grow while the primary writes nothing', () => {
    const log = positionsOf(10n, 20n, 20n, 20n, 20n, 20n);
    expect(log.lagMsOf(20n)).toBe(0);
    // The primary had more from the second sample on, which it had last at 2500 ms.
    expect(log.lagMsOf(15n)).toBe(2500);
  });

  it('starts over if the primary has lost a part of its log', () => {
    const log = positionsOf(10n, 20n, 15n);
    expect(log.last).toBe(15n);
    expect(log.lagMsOf(15n)).toBe(0);
    expect(log.lagMsOf(10n)).toBe(Number.POSITIVE_INFINITY);
  });

  it('is about the time that positions are kept if it is longer', () => {
    const log = createLogPositions(60_000);
    for (let index = 0; index < 1000; index++) log.add(BigInt(index), index * 500);
    expect(log.lagMsOf(0n)).toBe(60_000);
    expect(log.lagMsOf(998n)).toBe(500);
    // A new log begins, of which nothing was forgotten.
    log.add(5n, 500_000);
    expect(log.lagMsOf(4n)).toBe(Number.POSITIVE_INFINITY);
  });
});
