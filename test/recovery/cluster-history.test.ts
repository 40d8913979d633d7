/** The checker of the cluster test finds what it must find. The cluster itself runs with `npm run test:cluster`. */
import { describe, expect, it } from 'vitest';
import { checkHistory } from '../cluster/check-history.js';
import { createHistory, type History, type Read, secondsUntilWrites, type Write } from '../cluster/history.js';
import type { Logged } from '../support/feed-checker.js';

const write = (fields: Partial<Write> & Pick<Write, 'kind' | 'outcome'>): Write => ({
  userId: 'ada',
  isCertain: true,
  startMs: 0,
  endMs: 0,
  ...fields,
});
const created = write({ kind: 'created', outcome: 'acknowledged', version: 1, timeMs: 10 });
const updated = write({ kind: 'updated', outcome: 'acknowledged', version: 2, timeMs: 20 });
const deleted = write({ kind: 'deleted', outcome: 'acknowledged' });
const failed = write({ kind: 'updated', outcome: 'unknown', code: 'UNAVAILABLE' });

const historyOf = (...writes: Write[]): History => ({ ...createHistory(), writes });
const entry = (type: Logged['type'], timeMs: number): Logged => ({ xid: 1n, userId: 'ada', type, timeMs });
const logOf = (...entries: Logged[]) => new Map([['ada', entries]]);
const check = (writes: Write[], ...entries: Logged[]) => checkHistory(historyOf(...writes), logOf(...entries));

describe('the check of a history', () => {
  it('finds nothing if the log contains each acknowledged write once', () => {
    const entries = [entry('created', 10), entry('updated', 20), entry('deleted', 30)];
    const findings = check([created, updated, deleted], ...entries);
    expect(findings).toMatchObject({ acknowledged: 3, unknown: 0, lost: [], doubled: 0, wronglyRefused: [] });
  });

  it('accepts that a failed call has written, and that it has not', () => {
    expect(check([created, failed], entry('created', 10))).toMatchObject({ lost: [], doubled: 0 });
    expect(check([created, failed], entry('created', 10), entry('updated', 20))).toMatchObject({
      lost: [],
      doubled: 0,
    });
  });

  it('finds lost writes: a missing entry, another time, and a deleted user that exists', () => {
    expect(check([created, updated], entry('created', 10)).lost).toEqual([updated]);
    expect(check([created, updated], entry('created', 10), entry('updated', 21)).lost).toEqual([updated]);
    expect(check([created, deleted], entry('created', 10)).lost).toEqual([deleted]);
  });

  it('finds changes that are made twice, and users that no call explains', () => {
    expect(check([created, updated], entry('created', 10), entry('updated', 20), entry('updated', 21)).doubled).toBe(1);
    expect(check([], entry('created', 10)).doubled).toBe(1);
    const unknownCreate = write({ kind: 'created', outcome: 'unknown', userId: '' });
    expect(check([unknownCreate], entry('created', 10)).doubled).toBe(0);
  });

  it('finds refusals of writes that must succeed', () => {
    const refused = write({ kind: 'updated', outcome: 'refused', code: 'ABORTED' });
    expect(check([created, refused], entry('created', 10)).wronglyRefused).toEqual([refused]);
    const uncertain = { ...refused, isCertain: false };
    expect(check([created, uncertain], entry('created', 10)).wronglyRefused).toEqual([]);
  });

  it('counts failed and older reads, with and without a token, and says how old a missing write was', () => {
    const read = (fields: Partial<Read>): Read => ({ hasToken: true, startMs: 50, endMs: 60, ...fields });
    const stale = { userId: 'ada', version: 1 };
    const reads = [
      read({}),
      read({ code: 'UNAVAILABLE' }),
      read({ hasToken: false, stale }),
      read({ hasToken: false, stale, startMs: 45 }),
    ];
    const writes = [created, { ...updated, endMs: 20 }, { ...updated, version: 3, endMs: 30 }];
    const findings = checkHistory({ writes, reads }, logOf());
    expect(findings.reads).toEqual({ all: 2, failed: 1, stale: 0, staleMsMax: 0 });
    expect(findings.readsWithoutToken).toEqual({ all: 2, failed: 0, stale: 2, staleMsMax: 30 });
  });
});

describe('the time until writes resume', () => {
  const at = (endMs: number) => write({ kind: 'updated', outcome: 'acknowledged', endMs });

  it('ends with the longest pause after the fault', () => {
    const history = historyOf(...[900, 1_000, 1_100, 1_400, 6_000, 6_100, 8_000].map(at));
    expect(secondsUntilWrites(history, 1_050)).toBe(4.95);
  });

  it('is infinite if no write succeeds after the fault', () => {
    expect(secondsUntilWrites(historyOf(at(900)), 1_000)).toBe(Number.POSITIVE_INFINITY);
  });
});
