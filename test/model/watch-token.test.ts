import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseWatchToken, snapshotOf, type WatchPosition, watchTokenOf } from '../../src/model/watch-token.js';

const xid = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n });
const snapshot = fc.uniqueArray(xid, { minLength: 2, maxLength: 40 }).map((xids) => {
  const [xmin = 1n, ...rest] = xids.sort((a, b) => (a < b ? -1 : 1));
  const xmax = rest.pop() ?? xmin;
  return `${xmin}:${xmax}:${rest.join(',')}`;
});
const position: fc.Arbitrary<WatchPosition> = fc.record(
  {
    feedId: fc.uuid(),
    snapshot,
    window: fc.record({ until: snapshot, seq: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }) }),
  },
  { requiredKeys: ['feedId', 'snapshot'] },
);

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
    ['SQL', { feedId: crypto.randomUUID(), snapshot: "1:1:'; drop table users" }],
  ])('with a valid checksum and %s is refused before it reaches the database', (_, made) => {
    expect(parsing(watchTokenOf(made))).toMatchObject(refused);
  });

  it('is refused if it is another text, even a very long one', () => {
    fc.assert(fc.property(fc.string(), (text) => void expect(parsing(text)).toMatchObject(refused)));
    expect(parsing('A'.repeat(2_000_000))).toMatchObject(refused);
  });
});

describe('snapshotOf', () => {
  it("parses Postgres' text format", () => {
    expect(snapshotOf('10:20:10,14,15')).toEqual({ xmin: 10n, xmax: 20n, inProgress: [10n, 14n, 15n] });
    expect(snapshotOf('10:10:')).toEqual({ xmin: 10n, xmax: 10n, inProgress: [] });
  });
});
