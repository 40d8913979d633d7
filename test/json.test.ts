/** That JSON is read as it was meant, whatever has been read before. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseJson } from '../src/json.js';
import type { JsonValue } from '../src/model/user.js';

/** Compared as text, in which -0 is 0, because matchers and JSON.parse each have opinions of their own on keys. */
const canonical = (value: unknown): string =>
  Array.isArray(value)
    ? `[${value.map(canonical)}]`
    : typeof value === 'object' && value !== null
      ? `{${Object.keys(value)
          .sort()
          .map((key) => `${JSON.stringify(key)}:${canonical((value as Record<string, JsonValue>)[key])}`)}}`
      : JSON.stringify(value);

describe('parseJson', () => {
  it('reads a key with an escape after one that is a backslash', () => {
    const texts = ['{"h":[],"\\\\":0}', '{"h":1,"\\"":2}', '{"h":1,"\\n":2}', '{"h":1,"\\u0001":2}'];
    // Several times, because it is what was read before that makes JSON.parse err.
    for (let turn = 0; turn < 3; turn++) {
      expect(texts.map((text) => Object.keys(parseJson(text) as object)[1])).toEqual(['\\', '"', '\n', '\u0001']);
    }
  });

  it('reads everything back that JSON.stringify writes', () => {
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
        // As jsonb writes it.
        expect(canonical(parseJson(JSON.stringify(written, null, 1)))).toBe(canonical(written));
      }),
      { numRuns: 1000 },
    );
  });
});
