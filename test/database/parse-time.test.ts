import fc from 'fast-check';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { parseTime } from '../../src/database/parse-time.js';

const driver = pg.types.getTypeParser(pg.types.builtins.TIMESTAMPTZ, 'text');

describe("a time in Postgres' text", () => {
  it.each([
    '2026-11-22 16:14:47.963+00',
    '2026-11-22 16:14:47.9+00',
    '2026-11-22 16:14:47.06+00',
    '2026-11-22 16:14:47+00',
    '1999-12-31 23:59:59.999+00',
    // The forms that the driver parses.
    '2026-11-22 16:14:47.963+01',
    '2026-11-22 16:14:47.963-03:30',
    '2026-11-22 16:14:47.963456+00',
    '12026-11-22 16:14:47.963+00',
    '0099-11-22 16:14:47.963+00',
    '0099-11-22 16:14:47+00 BC',
    'infinity',
  ])('is parsed like the driver does: %s', (text) => {
    expect(parseTime(text)).toEqual(driver(text));
  });

  it('is parsed to the millisecond', () => {
    const time = fc.date({ noInvalidDate: true, min: new Date('1000-01-01Z'), max: new Date('9999-12-31Z') });
    fc.assert(
      fc.property(time, (date) => {
        // Like Postgres, without zeros at the end.
        const text = date
          .toISOString()
          .replace('T', ' ')
          .replace(/\.?0*Z$/, '+00');
        expect(parseTime(text)).toEqual(date);
      }),
    );
  });
});
