/** Tests what a sample of users suggests: the kinds of attributes, and the most frequent values. */
import { describe, expect, it } from 'vitest';
import { User } from '../../src/client/index.js';
import { type SampledField, sampleOf, searchedPaths } from '../../web/filter/user-sample.js';

const user = (attributes: Record<string, unknown>, texts: Partial<User> = {}) =>
  User.fromPartial({ firstName: 'Ada', email: 'ada@example.com', attributes, ...texts });

const fieldOf = (fields: readonly SampledField[], ...keys: string[]) =>
  fields.find(({ path }) => JSON.stringify(path) === JSON.stringify(['attributes', ...keys]));

describe('a sample of users', () => {
  it('has the most frequent values first, and the kind that most values have', () => {
    const { size, fields } = sampleOf([
      user({ department: 'ops', level: 3, vip: true, started: '2026-01-31', tags: ['a', 'b', 'a'] }),
      user({ department: 'sales', level: 'three', tags: ['b'] }),
      user({ department: 'sales', level: 4, started: '2026-01-31T10:00:00Z', nothing: null }),
    ]);
    expect(size).toBe(3);
    expect(fieldOf(fields, 'department')).toEqual({
      path: ['attributes', 'department'],
      kind: 'text',
      count: 3,
      hasTexts: true,
      values: [
        { value: 'sales', count: 2 },
        { value: 'ops', count: 1 },
      ],
    });
    expect(fieldOf(fields, 'level')?.kind).toBe('number');
    expect(fieldOf(fields, 'vip')).toMatchObject({ kind: 'boolean', values: [{ value: true, count: 1 }] });
    expect(fieldOf(fields, 'started')?.kind).toBe('date');
    expect(fieldOf(fields, 'tags')).toMatchObject({ kind: 'list', count: 2, values: [{ value: 'b' }, { value: 'a' }] });
    expect(fieldOf(fields, 'nothing')).toBeUndefined();
    expect(searchedPaths(fields)).toEqual([
      ['attributes', 'department'],
      ['attributes', 'level'],
      ['attributes', 'tags'],
      ['attributes', 'started'],
    ]);
  });

  it('has the keys of nested attributes, whatever they are called', () => {
    const { fields } = sampleOf([user({ address: { city: 'Boston', __proto__x: 1, 'post.code': '1' } })]);
    expect(fieldOf(fields, 'address', 'city')?.values).toEqual([{ value: 'Boston', count: 1 }]);
    expect(fieldOf(fields, 'address', 'post.code')?.kind).toBe('text');
    expect(fieldOf(fields, 'address')).toBeUndefined();
  });

  it('keeps a bounded number of values, and no long texts', () => {
    const users = Array.from({ length: 500 }, (_, index) => user({ number: index, text: 'x'.repeat(1_000) }));
    const { fields } = sampleOf(users);
    expect(fieldOf(fields, 'number')?.values).toHaveLength(200);
    expect(fieldOf(fields, 'text')?.values).toEqual([]);
  });

  it('suggests the domains of emails', () => {
    const { fields } = sampleOf([user({}), user({}, { email: 'b@example.com' })]);
    expect(fields.find(({ path }) => path[0] === 'email')?.values).toEqual([{ value: '@example.com', count: 2 }]);
  });
});
