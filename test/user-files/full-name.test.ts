/** Tests how whole names are split. */
import { expect, it } from 'vitest';
import { draftOf, isWritable } from '../../src/user-files/columns.js';
import { fullNameColumn, splitFullName } from '../../src/user-files/full-name.js';
import { missingFields, targetsOf } from '../../src/user-files/header.js';

it.each([
  ['Ada Lovelace', 'Ada', 'Lovelace'],
  [' Augusta  Ada\u00a0 King ', 'Augusta  Ada', 'King'],
  ['Madonna', 'Madonna', ''],
  ['Lovelace, Ada', 'Ada', 'Lovelace'],
  ['van der Berg,Anna Maria', 'Anna Maria', 'van der Berg'],
  ['Lovelace,', 'Lovelace', ''],
  [', Ada', 'Ada', ''],
  ['山田　太郎', '太郎', '山田'],
  ['김 철수', '철수', '김'],
  ['Martin Luther King, Jr.', 'Martin Luther', 'King, Jr.'],
  ['John Smith, PhD', 'John', 'Smith, PhD'],
  ['Madonna, M.D.', 'Madonna, M.D.', ''],
  ['Khan, Md', 'Md', 'Khan'],
  ['Chan, M', 'M', 'Chan'],
  ['', '', ''],
  [' , ', '', ''],
])('splits “%s”', (text, firstName, lastName) => {
  expect(splitFullName(text)).toEqual({ firstName, lastName });
});

it('splits a long text in little time', () => {
  const words = 'a '.repeat(200_000);
  expect(splitFullName(`${words}b`)).toEqual({ firstName: words.trim(), lastName: 'b' });
  expect(splitFullName(`a${' '.repeat(200_000)}b`)).toEqual({ firstName: 'a', lastName: 'b' });
  expect(splitFullName(`a,${' '.repeat(200_000)}`)).toEqual({ firstName: 'a', lastName: '' });
});

it('fills both names of a user from one column', () => {
  const columns = [fullNameColumn, 'email'].map((field) => ({ name: field, field, isIgnored: false }));
  expect(missingFields(columns)).toEqual([]);
  const targets = targetsOf(columns);
  expect(draftOf(['Ada Lovelace', 'a@example.com'], targets)).toEqual({
    user: { firstName: 'Ada', lastName: 'Lovelace', email: 'a@example.com' },
  });
  // An update with a single word does not change the last name.
  expect(draftOf(['Madonna', 'm@example.com'], targets)).toEqual({
    user: { firstName: 'Madonna', email: 'm@example.com' },
  });
  // The command line has no such column.
  expect(isWritable(fullNameColumn)).toBe(false);
});
