/** Tests attributes as rows of text: values that are not edited stay the same, and each problem names its row. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AttributeRow,
  attributeRowsOf,
  newRow,
  readAttributes,
  withText,
  withType,
} from '../../web/users/attributes.js';
import { differences, type JsonObject, noFields, withValues } from '../../web/users/user-fields.js';

const key = fc.oneof(fc.string(), fc.constantFrom('', '__proto__', 'a.b', '"', '\\', '😀'));
const json = fc.dictionary(key, fc.jsonValue()).map((value) => JSON.parse(JSON.stringify(value)) as JsonObject);

describe('rows of attributes', () => {
  it('do not change if they are not edited', () => {
    fc.assert(
      fc.property(json, (attributes) => {
        expect(readAttributes(attributeRowsOf(attributes))).toEqual({ attributes });
      }),
    );
  });

  it('do not change if their text is typed again', () => {
    fc.assert(
      fc.property(json, (attributes) => {
        const retyped = attributeRowsOf(attributes).map((row) => withText(row, row.text));
        expect(readAttributes(retyped)).toEqual({ attributes });
      }),
    );
  });

  it('accept a number, also with groups', () => {
    const row = withType({ ...newRow(), key: 'n' }, 'number');
    for (const [text, value] of [
      ['42', 42],
      [' -1.5e3 ', -1500],
      ['0', 0],
      ['1,5', 1.5],
      ['0,125', 0.125],
      ['-.5', -0.5],
      ['50,000', 50000],
      ['-1,000', -1000],
      ['1,000,000', 1000000],
      ['1.000.000', 1000000],
      ['1.234,5', 1234.5],
      ['1 000', 1000],
    ] as const) {
      expect(readAttributes([withText(row, text)])).toEqual({ attributes: { n: value } });
    }
    for (const text of ['', '0x1', 'Infinity', '1e400', 'NaN', '.', ',5e', '1,00,0']) {
      expect(readAttributes([withText(row, text)]).problems?.get(row.id)?.part).toBe('value');
    }
  });

  it('keep a number that is changed to JSON, and back', () => {
    const number = withText(withType({ ...newRow(), key: 'n' }, 'number'), '1,5');
    expect(withType(number, 'json').text).toBe('1.5');
    expect(withType(withType(number, 'json'), 'number').text).toBe('1.5');
  });

  it('reject a number that would lose precision', () => {
    const row = { ...newRow(), key: 'n' };
    for (const [type, text, advice] of [
      ['number', '9007199254740993', 'It has too many digits for a number. Store it as text.'],
      ['number', '9,007,199,254,740,993', 'It has too many digits for a number. Store it as text.'],
      ['number', '1e400', 'It has too many digits for a number. Store it as text.'],
      ['json', '{"a":[9007199254740993]}', 'Write it as a string'],
    ] as const) {
      const edited = withText(withType(row, type), text);
      expect(readAttributes([edited]).problems?.get(row.id)?.message).toContain(advice);
    }
    expect(readAttributes([withText(withType(row, 'number'), '0.1234567890123456789')])).toEqual({
      attributes: { n: 0.12345678901234568 },
    });
  });

  it('report the error in invalid JSON', () => {
    const row = withType({ ...newRow(), key: 'j' }, 'json');
    expect(readAttributes([withText(row, '{"a":[1]}')])).toEqual({ attributes: { j: { a: [1] } } });
    for (const text of ['', '{"a":', "{'a':1}", '"\\ud800"']) {
      expect(readAttributes([withText(row, text)]).problems?.get(row.id)?.message).not.toBe('');
    }
  });

  it('report a duplicate key, and ignore a row that was only added', () => {
    const twice = [{ ...newRow(), key: 'a', text: '1' }, { ...newRow(), key: 'a', text: '2' }, newRow()];
    expect([...(readAttributes(twice).problems?.keys() ?? [])]).toEqual([twice[1]?.id]);
    expect(readAttributes([newRow()])).toEqual({ attributes: {} });
    // Clients may write an empty key, but here somebody has forgotten it.
    const nameless = withText(newRow(), 'a value');
    for (const key of ['', ' '])
      expect(readAttributes([{ ...nameless, key }]).problems?.get(nameless.id)?.part).toBe('key');
  });

  it('reject an empty text in a new attribute, but not in one that exists', () => {
    for (const type of ['text', 'list'] as const) {
      const row = withType({ ...newRow(), key: 'a' }, type);
      for (const text of ['', ' ', '\n'])
        expect(readAttributes([withText(row, text)]).problems?.get(row.id)?.part).toBe('value');
    }
    const [row] = attributeRowsOf({ a: 'x' });
    expect(row && readAttributes([withText(row, '')])).toEqual({ attributes: { a: '' } });
  });

  it('say how to remove an attribute whose value was cleared', () => {
    const messageOf = (row: AttributeRow) => readAttributes([row]).problems?.get(row.id)?.message;
    for (const value of ['2026-01-31', 'https://example.com', 3, { a: 1 }]) {
      const [row] = attributeRowsOf({ a: value });
      expect(row && messageOf(withText(row, ''))).toMatch(/ To remove the attribute, use the button with the minus/);
      expect(row && messageOf({ ...withText(row, ''), isIncomplete: true })).not.toContain('To remove');
    }
    expect(messageOf(withType({ ...newRow(), key: 'a' }, 'date'))).toBe('Choose a day.');
  });

  it('keep the text if their type changes', () => {
    const row = { ...newRow(), key: 'a', text: 'say "yes"' };
    expect(readAttributes([withType(row, 'json')])).toEqual({ attributes: { a: 'say "yes"' } });
    expect(withType(withType(row, 'json'), 'text').text).toBe('say "yes"');
    expect(withType(withType(row, 'boolean'), 'text').text).toBe(row.text);
    expect(readAttributes([withType(row, 'boolean')])).toEqual({ attributes: { a: false } });
    expect(readAttributes([withType(row, 'null')])).toEqual({ attributes: { a: null } });
  });
});

describe('two versions of a user', () => {
  it('differ in the paths of an update mask, and are equal after those were copied', () => {
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
