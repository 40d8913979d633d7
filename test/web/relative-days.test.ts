/** Tests days in a filter that move with the calendar: what the server receives instead of them, and where its errors are. */
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { hasRelativeDays, placeInFilter, relativeDayOf, sentFilter } from '../../web/text/relative-days.js';

const zone = process.env.TZ;
afterEach(() => {
  if (zone === undefined) delete process.env.TZ;
  else process.env.TZ = zone;
});

describe('the filter that is sent', () => {
  it('has local midnight in timestamp(), and days elsewhere', () => {
    process.env.TZ = 'Europe/Berlin';
    // The clocks change on the 29th.
    const now = new Date('2026-03-30T21:59:00Z');
    expect(sentFilter('create_time >= timestamp(today - 6) && update_time < timestamp(today)', now)).toBe(
      'create_time >= timestamp("2026-03-23T23:00:00.000Z") && update_time < timestamp("2026-03-29T22:00:00.000Z")',
    );
    expect(sentFilter('attributes.a in [today, today+1, this_year, this_year - 1]', now)).toBe(
      'attributes.a in ["2026-03-30", "2026-03-31", "2026-01-01", "2025-01-01"]',
    );
    // A minute later, it is the next day.
    expect(sentFilter('attributes.a == today', new Date('2026-03-30T22:00:00Z'))).toBe('attributes.a == "2026-03-31"');
    expect(sentFilter('timestamp(this_year)', now)).toBe('timestamp("2025-12-31T23:00:00.000Z")');
  });

  it.each([
    'attributes.today == 1',
    'attributes["today"] == "today - 6" // today',
    "attributes.a == 'today' || today.a == 1 || today() || today[0] || todays == 1",
    // No filter can contain such years.
    'attributes.a == this_year - 2000 || attributes.a == this_year + 8000',
  ])('is the same text if it contains no such day: %s', (filter) => {
    expect(sentFilter(filter)).toBe(filter);
    expect(hasRelativeDays(filter)).toBe(false);
  });

  it('is invalid where an offset is', () => {
    const now = new Date(2026, 2, 30);
    expect(sentFilter('attributes.a == today - 6.5', now)).toBe('attributes.a == "2026-03-30" - 6.5');
    expect(sentFilter('attributes.a == today - 999999', now)).toBe('attributes.a == "2026-03-30" - 999999');
  });

  it('has a place for each place of the text on the page', () => {
    const parts = fc.array(
      fc.constantFrom('today - 6', 'timestamp(today)', 'this_year+1', '"😀"', ' && ', 'attributes.today', '"today"'),
    );
    fc.assert(
      fc.property(parts, (all) => {
        const filter = all.join(' ');
        const sent = sentFilter(filter);
        let longer = 0;
        let at = 0;
        for (const part of all) {
          const own = sentFilter(part);
          // All but the replaced part itself.
          if (own === part) {
            for (let inPart = 0; inPart < part.length; inPart++) {
              expect(placeInFilter(filter, at + longer + inPart)).toBe(at + inPart);
              expect(sent.charAt(at + longer + inPart)).toBe(filter.charAt(at + inPart));
            }
          } else if (part !== 'timestamp(today)') {
            for (let inOwn = 0; inOwn < own.length; inOwn++) {
              expect(placeInFilter(filter, at + longer + inOwn)).toBe(at);
            }
          }
          longer += own.length - part.length;
          at += part.length + 1;
        }
      }),
    );
  });
});

describe('a day that moves', () => {
  it('is read only as it is written', () => {
    expect(relativeDayOf('today')).toEqual({ unit: 'today', offset: 0 });
    expect(relativeDayOf('this_year + 2')).toEqual({ unit: 'this_year', offset: 2 });
    for (const text of [
      '',
      'Today',
      'today-6',
      'today - 06',
      'today - 0',
      'today -',
      'today 6',
      'today - 6 - 1',
      'today - 123456',
    ])
      expect(relativeDayOf(text)).toBeUndefined();
  });
});
