/** Tests what other users have in an attribute: the type, the values to offer, and what a new key takes from them. */
import { describe, expect, it } from 'vitest';
import { User } from '../../src/client/index.js';
import { newRow, withChosenType, withText } from '../../web/users/attributes.js';
import { offeredRows, othersNoun, usedAttributes, withKey } from '../../web/users/used-attributes.js';

const user = (attributes: Record<string, unknown>) => User.fromPartial({ attributes });
const usersWith = (key: string, values: readonly unknown[]) => values.map((value) => user({ [key]: value }));
const suggestionsOf = (...values: readonly unknown[]) => usedAttributes(usersWith('a', values)).get('a')?.suggestions;

describe('the attributes of other users', () => {
  it('have the type that most values have', () => {
    const known = usedAttributes([
      ...usersWith('level', [1, 2, null, 'three']),
      ...usersWith('since', ['2026-01-31', null]),
      ...usersWith('nothing', [null]),
    ]);
    expect([...known].map(([key, { type, isUniform }]) => [key, type, isUniform])).toEqual([
      ['level', 'number', false],
      ['nothing', 'null', false],
      ['since', 'date', true],
    ]);
  });

  it('suggest the texts that at least two users have, the most frequent first', () => {
    expect(suggestionsOf('dev', 'ops', 'ops', 'sales', 'ops', 'sales')).toEqual(['ops', 'sales']);
    expect(suggestionsOf(1, 1, 'one', 'one')).toEqual([]);
    const many = Array.from({ length: 30 }, (_, index) => [`value ${index}`, `value ${index}`]).flat();
    expect(suggestionsOf(...many)).toHaveLength(20);
  });

  it('suggest neither notes, nor emails, nor what one line cannot show', () => {
    expect(suggestionsOf('Likes tea', 'Moved in May', 'Works at night', 'On leave', 'On leave')).toEqual([]);
    expect(suggestionsOf('ada@example.com', 'ada@example.com', 'ops', 'ops')).toEqual(['ops']);
    expect(suggestionsOf(' ', ' ', 'a\nb', 'a\nb', 'x'.repeat(81), 'x'.repeat(81))).toEqual([]);
  });

  it('are offered for a new user if most users have them, at most eight, in the order of their keys', () => {
    const keys = ['j', 'i', 'h', 'g', 'f', 'e', 'd', 'c', 'b', 'a'];
    const values = (count: number) => Object.fromEntries(keys.slice(0, count).map((key) => [key, 'x']));
    const known = usedAttributes([...[10, 10, 10, 8].map((count) => user(values(count))), user({ half: 1 })]);
    const keysOf = (of: typeof known, protectedKeys = new Set<string>()) =>
      offeredRows(of, [], protectedKeys).map(({ key }) => key);
    expect(keysOf(known)).toEqual(['c', 'd', 'e', 'f', 'g', 'h', 'i', 'j']);
    expect(keysOf(known, new Set(['c']))).not.toContain('c');
    expect(offeredRows(known, [{ ...newRow(), key: 'd' }], new Set()).map(({ key }) => key)).not.toContain('d');
    // An attribute of one user is not usual, and nobody fills in JSON without an example.
    expect(keysOf(usedAttributes([user({ a: 1 })]))).toEqual([]);
    expect(keysOf(usedAttributes(usersWith('place', [{ city: 'London' }, { city: 'Paris' }])))).toEqual([]);
    expect(keysOf(usedAttributes(usersWith('nothing', [null, null])))).toEqual([]);
  });

  it('give a new key their type, unless the user has chosen one', () => {
    const known = usedAttributes([user({ age: 30, nothing: null, __proto__x: true })]);
    const age = withKey(newRow(), 'age', known);
    expect(age).toMatchObject({ key: 'age', type: 'number' });
    // The beginning of another key had the type.
    expect(withKey(age, 'age_group', known)).toMatchObject({ key: 'age_group', type: 'text' });
    expect(withKey(age, 'nothing', known).type).toBe('text');
    expect(withKey(withChosenType(newRow(), 'date'), 'age', known).type).toBe('date');
    expect(withKey(withText(newRow(), '7'), 'age', undefined)).toMatchObject({ key: 'age', type: 'text', text: '7' });
  });

  it('are named if an edited value has another type than all of theirs', () => {
    const known = usedAttributes([
      user({ floor: 3, team: 'ops', mixed: 1, home: 'https://example.com', tags: ['a'], since: '2026-01-31' }),
      user({ floor: 4, team: 'dev', mixed: 'one', home: null }),
    ]);
    const nounOf = (key: string, type: Parameters<typeof withChosenType>[1]) =>
      othersNoun({ ...withChosenType(newRow(), type), key }, known);
    expect(nounOf('floor', 'text')).toBe('numbers');
    expect(nounOf('team', 'number')).toBe('text');
    expect(nounOf('tags', 'text')).toBe('lists');
    expect(nounOf('since', 'text')).toBe('dates');
    expect(nounOf('home', 'text')).toBe('links');
    for (const [key, type] of [
      ['floor', 'number'],
      ['floor', 'null'],
      ['team', 'date'],
      ['team', 'link'],
      ['mixed', 'boolean'],
      ['unknown', 'number'],
    ] as const) {
      expect(nounOf(key, type), key).toBeUndefined();
    }
    const untouched = { ...newRow(), key: 'floor', untouched: { value: 'third' } };
    expect(othersNoun(untouched, known)).toBeUndefined();
  });
});
