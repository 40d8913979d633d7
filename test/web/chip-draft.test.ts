/** Tests chips while they are edited: what was typed becomes a chip, and a chip opens as what was typed. */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { type ChipDraft, chipOf, draftOf, newDraft, withOperator } from '../../web/chip-draft.js';
import type { Chip } from '../../web/filter-chips.js';
import { chipTexts } from '../../web/filter-fields.js';

const zone = process.env.TZ;
afterEach(() => {
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
    expect(problemOf({ ...number, texts: ['50,000', ''] })).toContain('Enter a number');
    expect(problemOf({ ...newDraft(['id'], 'id'), texts: ['0190a5b0', ''] })).toBe('Enter a whole id.');
    const text = newDraft(['attributes', 'department'], 'text');
    expect(problemOf({ ...text, texts: ['  ', ''] })).toBe('Enter a value.');
    // A filter can contain neither of these.
    expect(chipFrom({ ...text, texts: ['a\0\ud800', ''] }).values).toEqual(['a\ufffd']);
  });
});
