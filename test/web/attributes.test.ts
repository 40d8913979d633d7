/** Attributes as rows of text: what is not touched stays what it was, and what is wrong is said of the row it is in. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newRow, readRows, rowsOf, withText, withType } from '../../web/attributes.js';
import { differences, type JsonObject, noFields, withValues } from '../../web/user-fields.js';

// The page's entry does so, too.
Reflect.deleteProperty(Object.prototype, '__proto__');

const key = fc.oneof(fc.string(), fc.constantFrom('', '__proto__', 'a.b', '"', '\\', '😀'));
const json = fc.dictionary(key, fc.jsonValue()).map((value) => JSON.parse(JSON.stringify(value)) as JsonObject);

describe('rows of attributes', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(json, (attributes) => {
        expect(readRows(rowsOf(attributes))).toEqual({ attributes });
      }),
    );
  });

  it('come back as they were, too, where their text was written again', () => {
    fc.assert(
      fc.property(json, (attributes) => {
        const retyped = rowsOf(attributes).map((row) => withText(row, row.text));
        expect(readRows(retyped)).toEqual({ attributes });
      }),
    );
  });

  it('take a number as JSON writes it, and nothing else', () => {
    const row = withType({ ...newRow(), key: 'n' }, 'number');
    for (const [text, value] of [
      ['42', 42],
      [' -1.5e3 ', -1500],
      ['0', 0],
    ] as const) {
      expect(readRows([withText(row, text)])).toEqual({ attributes: { n: value } });
    }
    for (const text of ['', '1,5', '0x1', 'Infinity', '1e400', 'NaN']) {
      expect(readRows([withText(row, text)]).problems?.get(row.id)?.part).toBe('value');
    }
  });

  it('refuse a number that would become another one', () => {
    const row = { ...newRow(), key: 'n' };
    for (const [type, text] of [
      ['number', '9007199254740993'],
      ['number', '1e400'],
      ['json', '{"a":[9007199254740993]}'],
    ] as const) {
      const edited = withText(withType(row, type), text);
      expect(readRows([edited]).problems?.get(row.id)?.message).toContain('Write it as a string');
    }
    expect(readRows([withText(withType(row, 'number'), '0.1234567890123456789')])).toEqual({
      attributes: { n: 0.12345678901234568 },
    });
  });

  it('say of JSON what is wrong with it', () => {
    const row = withType({ ...newRow(), key: 'j' }, 'json');
    expect(readRows([withText(row, '{"a":[1]}')])).toEqual({ attributes: { j: { a: [1] } } });
    for (const text of ['', '{"a":', "{'a':1}", '"\\ud800"']) {
      expect(readRows([withText(row, text)]).problems?.get(row.id)?.message).not.toBe('');
    }
  });

  it('say which key is there already, and pass over a row that was only added', () => {
    const twice = [{ ...newRow(), key: 'a', text: '1' }, { ...newRow(), key: 'a', text: '2' }, newRow()];
    expect([...(readRows(twice).problems?.keys() ?? [])]).toEqual([twice[1]?.id]);
    expect(readRows([newRow()])).toEqual({ attributes: {} });
  });

  it('keep what was typed when they get another type', () => {
    const row = { ...newRow(), key: 'a', text: 'say "yes"' };
    expect(readRows([withType(row, 'json')])).toEqual({ attributes: { a: 'say "yes"' } });
    expect(withType(withType(row, 'json'), 'text').text).toBe('say "yes"');
    expect(withType(withType(row, 'boolean'), 'text').text).toBe(row.text);
    expect(readRows([withType(row, 'boolean')])).toEqual({ attributes: { a: false } });
    expect(readRows([withType(row, 'null')])).toEqual({ attributes: { a: null } });
  });
});

describe('two versions of a user', () => {
  it('differ in the paths of an update mask, and are equal once those were taken over', () => {
    fc.assert(
      fc.property(json, json, fc.string(), (a, b, firstName) => {
        const one = { ...noFields, attributes: a };
        const other = { ...noFields, firstName, attributes: b };
        const paths = differences(one, other);
        expect(paths.includes('first_name')).toBe(firstName !== '');
        expect(differences(withValues(one, other, paths), other)).toEqual([]);
        expect(differences(one, one)).toEqual([]);
      }),
    );
  });
});
