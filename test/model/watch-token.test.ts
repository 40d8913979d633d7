import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  hasReached,
  parseWatchToken,
  snapshotOf,
  type WatchPosition,
  watchTokenOf,
} from '../../src/model/watch-token.js';

const xid = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n });
const snapshot = fc.uniqueArray(xid, { minLength: 2, maxLength: 40 }).map((xids) => {
  const [xmin = 1n, ...rest] = xids.sort((a, b) => (a < b ? -1 : 1));
  const xmax = rest.pop() ?? xmin;
  return `${xmin}:${xmax}:${rest.join(',')}`;
});
const hex = fc.integer({ min: 0, max: 0xffff_ffff }).map((part) => part.toString(16).toUpperCase());
const position: fc.Arbitrary<WatchPosition> = fc.record(
  {
    feedId: fc.uuid(),
    snapshot,
    wal: fc.record({ timelineId: fc.uuid(), lsn: fc.tuple(hex, hex).map((parts) => parts.join('/')) }),
    window: fc.record({ until: snapshot, seq: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }) }),
  },
  { requiredKeys: ['feedId', 'snapshot'] },
);

const someWal = { feedId: crypto.randomUUID(), snapshot: '1:1:' };

const refused = { reason: 'INVALID_RESUME_TOKEN', violations: [{ field: 'resume_token' }] };
const parsing = (token: string) => {
  try {
    return parseWatchToken(token);
  } catch (error) {
    return error;
  }
};

describe('a watch token', () => {
  it('is parsed to the position that it was created from', () => {
    fc.assert(fc.property(position, (given) => void expect(parseWatchToken(watchTokenOf(given))).toEqual(given)));
  });

  it('of an earlier server has no position in the WAL', () => {
    const token = 'mzQ6Rw65MSAwMWEyMDM5Mi00YTk1LTQzYWUtYWY3MC1hMTBkYzU0ZGExMDEgMTA6MTI6MTAgMTA6MTU6MTAsMTMgNw';
    expect(parsing(token)).toEqual({
      feedId: '01a20392-4a95-43ae-af70-a10dc54da101',
      snapshot: '10:12:10',
      window: { until: '10:15:10,13', seq: 7n },
    });
  });

  it('is refused if a character was changed, removed or added', () => {
    fc.assert(
      fc.property(position, fc.nat(), fc.constantFrom('', 'x', '.', 'AA'), (given, at, instead) => {
        const token = watchTokenOf(given);
        const index = at % token.length;
        const changed = token.slice(0, index) + instead + token.slice(index + 1);
        fc.pre(changed !== token);
        expect(parsing(changed)).toMatchObject(refused);
      }),
    );
  });

  it.each([
    ['a malformed UUID', { feedId: 'x', snapshot: '1:1:' }],
    ['a malformed snapshot', { feedId: crypto.randomUUID(), snapshot: '1:1' }],
    ['an xid of 0', { feedId: crypto.randomUUID(), snapshot: '0:1:' }],
    ['xmin above xmax', { feedId: crypto.randomUUID(), snapshot: '2:1:' }],
    ['an xid out of range', { feedId: crypto.randomUUID(), snapshot: '1:3:3' }],
    ['a duplicate xid', { feedId: crypto.randomUUID(), snapshot: '1:5:3,3' }],
    ['an xid that is too large', { feedId: crypto.randomUUID(), snapshot: '1:18446744073709551616:' }],
    [
      'a seq that is too large',
      { feedId: crypto.randomUUID(), snapshot: '1:1:', window: { until: '1:1:', seq: 2n ** 63n } },
    ],
    ['a malformed id of a timeline', { ...someWal, wal: { timelineId: 'x', lsn: '0/1' } }],
    ['a malformed LSN', { ...someWal, wal: { timelineId: crypto.randomUUID(), lsn: '0/100000000' } }],
    ['an LSN in lower case', { ...someWal, wal: { timelineId: crypto.randomUUID(), lsn: '0/a' } }],
    ['SQL', { feedId: crypto.randomUUID(), snapshot: "1:1:'; drop table users" }],
  ])('with a valid checksum and %s is refused before it reaches the database', (_, made) => {
    expect(parsing(watchTokenOf(made))).toMatchObject(refused);
  });

  it('is refused if it is another text, even a very long one', () => {
    fc.assert(fc.property(fc.string(), (text) => void expect(parsing(text)).toMatchObject(refused)));
    expect(parsing('A'.repeat(2_000_000))).toMatchObject(refused);
  });
});

describe('hasReached', () => {
  it('compares both parts as numbers', () => {
    expect(hasReached('0/A', '0/9')).toBe(true);
    expect(hasReached('0/9', '0/A')).toBe(false);
    expect(hasReached('0/10', '0/9')).toBe(true);
    expect(hasReached('1/0', '0/FFFFFFFF')).toBe(true);
    expect(hasReached('A/0', '10/0')).toBe(false);
    expect(hasReached('A/1', 'A/1')).toBe(true);
  });
});

describe('snapshotOf', () => {
  it("parses Postgres' text format", () => {
    expect(snapshotOf('10:20:10,14,15')).toEqual({ xmin: 10n, xmax: 20n, inProgress: [10n, 14n, 15n] });
    expect(snapshotOf('10:10:')).toEqual({ xmin: 10n, xmax: 10n, inProgress: [] });
  });
});
