/** Tests that JSON is read correctly, regardless of earlier input, and that inexact numbers are found. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isExactNumber, parseJson, replaceInexactNumbers } from '../src/json.js';
import type { JsonValue } from '../src/model/user.js';

/** Compares as text, in which -0 is 0, because matchers and JSON.parse treat some keys specially. */
const canonical = (value: unknown): string =>
  Array.isArray(value)
    ? `[${value.map(canonical)}]`
    : typeof value === 'object' && value !== null
      ? `{${Object.keys(value)
          .sort()
          .map((key) => `${JSON.stringify(key)}:${canonical((value as Record<string, JsonValue>)[key])}`)}}`
      : JSON.stringify(value);

describe('parseJson', () => {
  it('reads a key with an escape after a key that is a backslash', () => {
    const texts = ['{"h":[],"\\\\":0}', '{"h":1,"\\"":2}', '{"h":1,"\\n":2}', '{"h":1,"\\u0001":2}'];
    // Several times, because the bug in JSON.parse depends on earlier input.
    for (let turn = 0; turn < 3; turn++) {
      expect(texts.map((text) => Object.keys(parseJson(text) as object)[1])).toEqual(['\\', '"', '\n', '\u0001']);
    }
  });

  it('reads everything that JSON.stringify writes', () => {
    const key = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 4 }),
      fc.string({ unit: fc.constantFrom('\\', '"', '\n', '\u0001', '/', 'a', '1'), maxLength: 3 }),
      fc.constant('__proto__'),
    );
    const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        key,
        fc.constantFrom(null, true, false, 0, 1.5, 1e300, 5e-324),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(key, tie('value'), { maxKeys: 5, noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(value, (written) => {
        expect(canonical(parseJson(JSON.stringify(written)))).toBe(canonical(written));
        // In the format of jsonb.
        expect(canonical(parseJson(JSON.stringify(written, null, 1)))).toBe(canonical(written));
      }),
      { numRuns: 1000 },
    );
  });
});

/** The digits of a large number as JavaScript prints it, without an exponent. */
const digitsOf = (value: number): string => {
  const [mantissa = '', exponent = '0'] = String(value).split('e+');
  const [whole = '', fraction = ''] = mantissa.split('.');
  return whole + fraction.padEnd(Number(exponent), '0');
};

const inexactLiterals = [
  '9007199254740993',
  '-9007199254740993',
  '9007199254740993.0',
  '18446744073709551615',
  '1234567890123456789012',
  '1e400',
  '-1E+400',
  '1e0400',
  '9'.repeat(400),
  `${'9'.repeat(310)}e1`,
  '9007199254740993e0',
  '9007199254740993E+00',
  '9.007199254740993e15',
  '9.007199254740993e+0015',
  '-900719925474099.3e1',
  '90071992547409930e-1',
  '9007199254740993000.000e-003',
  '184467440737095516.15e2',
  '0.9007199254740993e16',
  '0.00000000009007199254740993e26',
  '123456789.0123456789e10',
  `9007199254740993.${'0'.repeat(1000)}`,
  `0.${'0'.repeat(1000)}9007199254740993e1016`,
  `9007199254740993${'0'.repeat(1000)}e-1000`,
];
const exactLiterals = [
  '9007199254740991',
  '9007199254740992',
  '9007199254740994',
  '-9223372036854775808',
  '1180591620717411303424',
  '123456789012345680000',
  '0.1234567890123456789',
  '9007199254740993.5',
  '1234567890123456.789',
  '1e308',
  '1e-400',
  '1e23',
  '0.00000000000000000001',
  '-0',
  '-0.0e5',
  '9007199254740992e0',
  '9.007199254740994e15',
  '90071992547409920e-1',
  '90071992547409935e-1',
  '9.0071992547409935e15',
  '1.8446744073709552e19',
  '123456789012345680e3',
  '1.7976931348623157e308',
  '0.1e2',
  '1e-99999999999999999999',
  `0e${'9'.repeat(1000)}`,
  `1e-${'9'.repeat(1000)}`,
  `0.${'0'.repeat(1000)}1e1001`,
];

const hasInexactNumber = (text: string) => replaceInexactNumbers(text, () => '') !== text;

describe('numbers that a double cannot hold', () => {
  it('are integers that would change and numbers that are too large', () => {
    expect(inexactLiterals.filter(isExactNumber)).toEqual([]);
    expect(exactLiterals.filter((literal) => !isExactNumber(literal))).toEqual([]);
  });

  it('are found anywhere except in strings', () => {
    for (const literal of inexactLiterals) {
      for (const text of [literal, `[${literal}]`, `{"a":{"b":[1,${literal} ]}}`, `["\\"",${literal}]`]) {
        expect([text, hasInexactNumber(text)]).toEqual([text, true]);
      }
      const inStrings = JSON.stringify({ [`"${literal}`]: `${literal}\\"`, b: [`\\${literal}`] });
      expect([inStrings, hasInexactNumber(inStrings)]).toEqual([inStrings, false]);
      const replaced = replaceInexactNumbers(`{"a":[${literal},1,"${literal}"]}`, (number) => `"${number}"`);
      expect(JSON.parse(replaced)).toEqual({ a: [literal, 1, literal] });
    }
    for (const literal of exactLiterals) {
      const text = `{"a":${literal},"b":[${literal},${literal}]}`;
      expect(replaceInexactNumbers(text, () => '0')).toBe(text);
    }
  });

  it('are never in JSON that JSON.stringify writes', () => {
    const double = fc.double({ noNaN: true, noDefaultInfinity: true });
    const integer = fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }).map(Number);
    fc.assert(
      fc.property(fc.array(fc.oneof(double, integer)), (numbers) => {
        expect(hasInexactNumber(JSON.stringify(numbers))).toBe(false);
      }),
    );
  });

  it('are integers that BigInt reads as another number', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }), (integer) => {
        const literal = String(integer);
        const isKept = BigInt(Number(integer)) === integer || String(Number(integer)) === literal;
        expect(hasInexactNumber(`[${literal}]`)).toBe(!isKept);
      }),
    );
  });

  it('are integers in any spelling that BigInt reads as another number', () => {
    const spelling = fc.record({
      digits: fc.bigInt({ min: 1n, max: 2n ** 70n }).map(String),
      zeros: fc.nat(3),
      shift: fc.integer({ min: -25, max: 25 }),
      sign: fc.constantFrom('', '-'),
    });
    fc.assert(
      fc.property(spelling, ({ digits, zeros, shift, sign }) => {
        const exact = `${sign}${digits}${'0'.repeat(zeros)}`;
        const text = exact.replace('-', '').padStart(26, '0');
        const at = text.length - Math.max(shift, 0);
        const fraction = text.slice(at);
        const whole = text.slice(0, at).replace(/^0+(?=\d)/, '');
        const moved = `${sign}${whole}${fraction === '' ? '' : `.${fraction}`}${'0'.repeat(Math.max(-shift, 0))}`;
        const literal = fraction === '' ? `${moved}e${Math.min(shift, 0)}` : `${moved}e${shift}`;
        const isKept = BigInt(Number(exact)) === BigInt(exact) || BigInt(digitsOf(Number(exact))) === BigInt(exact);
        expect([literal, isExactNumber(literal), hasInexactNumber(`[1,${literal}]`)]).toEqual([
          literal,
          isKept,
          !isKept,
        ]);
      }),
    );
  });

  it('never make malformed JSON well-formed', () => {
    const part = fc.constantFrom('9007199254740993', '1e400', '-', '.', '0', 'e', '"', '\\', ',', '[', ']', ' ');
    const isJson = (text: string) => {
      try {
        JSON.parse(text);
        return true;
      } catch {
        return false;
      }
    };
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
        const text = parts.join('');
        expect(isJson(replaceInexactNumbers(text, () => '1e999'))).toBe(isJson(text));
      }),
      { numRuns: 5000 },
    );
  });

  it('are found in a time that does not depend on the content', () => {
    const start = process.cpuUsage();
    for (const unit of ['\\"', '"', '1', '0', '0.1', '[1,', '1e1', '-', '\\', 'e123', '.', '9e9']) {
      hasInexactNumber(`${unit.repeat(1_000_000 / unit.length)}1234567890123456`);
      hasInexactNumber(`"${unit.repeat(1_000_000 / unit.length)}1234567890123456`);
      hasInexactNumber(
        `[${unit.repeat(1_000_000 / unit.length)}e-999999,1.${unit.repeat(1_000_000 / unit.length)}e999999]`,
      );
    }
    // CPU time of this process in microseconds: tens of thousands if linear, minutes if quadratic.
    expect(process.cpuUsage(start).user).toBeLessThan(10_000_000);
  });
});
