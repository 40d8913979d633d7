/** Tests chips while they are edited: what was typed becomes a chip, and a chip opens as what was typed. */
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type ChipDraft, chipOf, draftOf, newDraft, shownDays, withOperator } from '../../web/filter/chip-draft.js';
import { periodsOf } from '../../web/filter/chip-values.js';
import { type Chip, writeChip } from '../../web/filter/filter-chips.js';
import { chipText, chipTexts } from '../../web/filter/filter-fields.js';
import { readChips } from '../../web/filter/read-chips.js';

const zone = process.env.TZ;
afterEach(() => {
  vi.useRealTimers();
  if (zone === undefined) delete process.env.TZ;
  else process.env.TZ = zone;
});

function chipFrom(draft: ChipDraft): Chip {
  const result = chipOf(draft);
  if ('problem' in result) throw new Error(result.problem);
  return result.chip;
}

const problemOf = (draft: ChipDraft) => {
  const result = chipOf(draft);
  return 'problem' in result ? result.problem : '';
};

const days = fc
  .date({ min: new Date('1995-01-01'), max: new Date('2090-12-31'), noInvalidDate: true })
  .map((time) => time.toISOString().slice(0, 10));

describe('the days of a chip', () => {
  // In Cairo and Beirut, the clocks change at midnight, so that some days begin at 1 o'clock.
  it.each(['UTC', 'Africa/Cairo', 'Asia/Beirut', 'America/New_York', 'Pacific/Apia', 'Asia/Kathmandu'])(
    'are the same after it is opened again, in %s',
    (name) => {
      process.env.TZ = name;
      fc.assert(
        fc.property(days, days, fc.constantFrom('time', 'date'), (one, other, kind) => {
          // On this day, Samoa skipped the 30th of December 2011.
          fc.pre(![one, other].some((day) => day.startsWith('2011-12')));
          const [from, to] = [one, other].sort();
          const path = kind === 'time' ? ['create_time'] : ['attributes', 'started'];
          const start = withOperator(newDraft(path, kind === 'time' ? 'time' : 'date'), 'within');
          const chip = chipFrom({ ...start, texts: [one, other] });
          expect(draftOf(chip, start.kind).texts).toEqual([from, to]);
          expect(chipTexts(chip).values).not.toContain(':');
        }),
      );
    },
  );

  it('are from the first moment of one to the last of the other', () => {
    process.env.TZ = 'Europe/Berlin';
    const draft = withOperator(newDraft(['create_time'], 'time'), 'within');
    const chip = chipFrom({ ...draft, texts: ['2026-03-29', '2026-03-29'] });
    // The clocks change on this day, so it has 23 hours.
    expect(chip.values).toEqual(['2026-03-28T23:00:00.000Z', '2026-03-29T22:00:00.000Z']);
    expect(chipTexts(chip)).toMatchObject({ field: 'Created', operator: 'is on' });
  });

  it.each([
    ['time', 'Today', 'Created', '', 'today'],
    ['time', 'Last 7 days', 'Created', 'in the last', '7 days'],
    ['time', 'Last 30 days', 'Created', 'in the last', '30 days'],
    ['time', 'This year', 'Created', '', 'this year'],
    ['date', 'Today', 'started', 'is', 'today'],
    ['date', 'Last 7 days', 'started', 'is in the last', '7 days'],
    ['date', 'This year', 'started', 'is', 'this year'],
    ['date', 'Next 30 days', 'started', 'is in the next', '30 days'],
  ] as const)(
    'can be a period that moves, and is the same period when it is opened again: %s, %s',
    (kind, label, ...texts) => {
      const path = kind === 'time' ? ['create_time'] : ['attributes', 'started'];
      const period = periodsOf(kind).find((known) => known.label === label);
      const [first = '', second = ''] = period?.values ?? [];
      const operator = period?.operator ?? 'before';
      const chip = chipFrom({ ...newDraft(path, kind), operator, texts: [first, second] });
      expect(Object.values(chipTexts(chip))).toEqual(texts);
      const [again = chip] = readChips(writeChip(chip)) ?? [];
      expect(draftOf(again, undefined)).toMatchObject({ kind, operator, texts: [first, second] });
      expect(chipFrom(draftOf(again, undefined))).toEqual(chip);
    },
  );

  it('that move are shown as the days that they are now', () => {
    vi.setSystemTime('2026-03-02T12:00:00Z');
    process.env.TZ = 'UTC';
    const draft = newDraft(['attributes', 'started'], 'date');
    const shown = (...texts: [string, string]) => shownDays({ ...draft, operator: 'within', texts });
    expect(shown('today - 6', 'today + 1')).toEqual(['2026-02-24', '2026-03-02']);
    expect(shown('this_year - 1', 'this_year')).toEqual(['2025-01-01', '2025-12-31']);
    expect(shown('2026-01-01', '2026-01-02')).toEqual(['2026-01-01', '2026-01-02']);
  });

  it.each([
    ['since', ['this_year - 1'], 'Created is on or after the start of last year'],
    ['since', ['today + 1'], 'Created is on or after tomorrow'],
    ['before', ['today - 29'], 'Created is before 29 days ago'],
    ['before', ['this_year - 3'], 'Created is before the start of the year 3 years ago'],
    ['within', ['today - 6', 'today'], 'Created is from 6 days ago to yesterday'],
    ['within', ['today - 1', 'today'], 'Created yesterday'],
    ['within', ['this_year - 1', 'this_year'], 'Created last year'],
  ] as const)('that move are written in words: %s %j', (operator, values, text) => {
    expect(chipText({ path: ['create_time'], operator, values })).toBe(text);
  });

  it('are written as in the list if an attribute is such a day', () => {
    const path = ['attributes', 'started'];
    const day = new Intl.DateTimeFormat(undefined, {
      day: 'numeric',
      month: 'short',
      year: 'numeric',
      timeZone: 'UTC',
    });
    const shown = day.format(new Date('2026-03-01'));
    expect(chipText({ path, operator: 'is', values: ['2026-03-01'] })).toBe(`started is ${shown}`);
    expect(chipText({ path, operator: 'isNot', values: ['2026-03-01', 'soon'] })).toBe(
      `started is not one of ${shown}, soon`,
    );
    expect(chipText({ path, operator: 'contains', values: ['2026-03-01'] })).toBe('started contains 2026-03-01');
  });

  it('must be complete', () => {
    const draft = newDraft(['create_time'], 'time');
    expect(problemOf(draft)).toBe('Choose a day.');
    expect(problemOf({ ...draft, texts: ['0020-01-01', ''] })).toBe('Choose a day.');
    expect(problemOf({ ...withOperator(draft, 'within'), texts: ['2026-01-01', ''] })).toBe('Choose two days.');
  });
});

describe('a chip that is edited', () => {
  it('keeps what the new operator can use', () => {
    const draft = { ...newDraft(['attributes', 'department'], 'text'), values: ['ops', 'sales'] };
    expect(withOperator(draft, 'isNot').values).toEqual(['ops', 'sales']);
    expect(withOperator(draft, 'contains')).toMatchObject({ values: [], texts: ['ops', ''] });
    expect(chipFrom(withOperator(draft, 'isEmpty')).values).toEqual([]);
  });

  it('has values of the kind of its field', () => {
    const number = newDraft(['attributes', 'level'], 'number');
    expect(chipFrom({ ...number, texts: ['8,5', ''] }).values).toEqual([8.5]);
    expect(problemOf({ ...number, texts: ['many', ''] })).toContain('Enter a number');
    expect(problemOf({ ...number, texts: ['1e999', ''] })).toContain('Enter a number');
    expect(chipFrom({ ...number, texts: ['1,234.5', ''] }).values).toEqual([1234.5]);
    expect(problemOf({ ...newDraft(['id'], 'id'), texts: ['0190a5b0', ''] })).toBe('Enter a whole id.');
    const text = newDraft(['attributes', 'department'], 'text');
    expect(problemOf({ ...text, texts: ['  ', ''] })).toBe('Enter a value.');
    // A filter can contain neither of these.
    expect(chipFrom({ ...text, texts: ['a\0\ud800', ''] }).values).toEqual(['a\ufffd']);
  });
});
