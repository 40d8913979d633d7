/** Tests how the page reads numbers that a person has typed. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { localNumberText, parseLocalNumber } from '../../web/text/parse-number.js';

describe('a typed number', () => {
  it.each([
    // The text, and the number for a language with a decimal point and with a decimal comma.
    ['50,000', 50000, 50],
    ['50.000', 50, 50000],
    ['-1,234', -1234, -1.234],
    ['1.5', 1.5, 1.5],
    ['1,5', 1.5, 1.5],
    ['0,125', 0.125, 0.125],
    ['1 500', 1500, 1500],
    ['1\u00a0500', 1500, 1500],
    ['12\u202f345,6', 12345.6, 12345.6],
    ["1'500", 1500, 1500],
    ['1’234’567.5', 1234567.5, 1234567.5],
    ['1,234,567', 1234567, 1234567],
    ['1.234.567', 1234567, 1234567],
    ['1.234,56', 1234.56, 1234.56],
    ['1,234.56', 1234.56, 1234.56],
    ['12,34,567', 1234567, 1234567],
    ['2e3', 2000, 2000],
    ['1,234,5', undefined, undefined],
    ['1,23,45', undefined, undefined],
    ['1 50', undefined, undefined],
    ['many', undefined, undefined],
    ['', undefined, undefined],
  ])('is read from %j', (text, withPoint, withComma) => {
    expect(parseLocalNumber(text, false)).toBe(withPoint);
    expect(parseLocalNumber(text, true)).toBe(withComma);
  });

  it('is the same after it is edited', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(), (number, isComma) => {
        // -0 is written as 0.
        expect(parseLocalNumber(localNumberText(number, isComma), isComma)).toBe(number + 0);
      }),
    );
  });
});
