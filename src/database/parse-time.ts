/**
 * Parses Postgres' text of a timestamptz. With the driver's own parser, which uses regular expressions, parsing took a
 * fifth of the time for a page of users.
 */
import pg from 'pg';

const parseAny = pg.types.getTypeParser(pg.types.builtins.TIMESTAMPTZ, 'text');

const zeroCode = 48;

/** Works like the driver's parser. The common form is `2026-11-22 16:14:47.963+00`, with 0 to 3 decimals. */
export function parseTime(text: string): Date {
  // Fast path: a year from 1000 to 9999, in UTC.
  if (text[0] === '0' || text[4] !== '-' || text[10] !== ' ' || !text.endsWith('+00')) return parseAny(text);
  const decimals = text.length - '2026-11-22 16:14:47+00'.length;
  if (decimals > 4) return parseAny(text);
  const pair = (at: number): number => 10 * (text.charCodeAt(at) - zeroCode) + text.charCodeAt(at + 1) - zeroCode;
  let ms = 0;
  for (let at = 20, unit = 100; at < 19 + decimals; at++, unit /= 10) ms += unit * (text.charCodeAt(at) - zeroCode);
  return new Date(Date.UTC(100 * pair(0) + pair(2), pair(5) - 1, pair(8), pair(11), pair(14), pair(17), ms));
}
