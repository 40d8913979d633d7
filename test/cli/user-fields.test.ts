/** The fields of a user as flags. */
import { Command } from 'commander';
import { expect, it } from 'vitest';
import { addUserFlags, userOf } from '../../src/cli/user-fields.js';

it('reads a key of attributes with an escape, independent of earlier reads', () => {
  for (const key of ['\\', '"', '\n', '\u0001']) {
    const flags = addUserFlags(new Command()).parse(['--attributes', JSON.stringify({ first: 1, [key]: 1 })], {
      from: 'user',
    });
    expect(Object.keys(userOf(flags.opts()).attributes ?? {})).toEqual(['first', key]);
  }
});

it.each([
  ['--attribute', 'id=9007199254740993'],
  ['--attribute', 'id=[1e400]'],
  ['--attributes', '{"id":9007199254740993}'],
])('refuses a number that would change: %s %s', (flag, value) => {
  const command = addUserFlags(new Command())
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  expect(() => command.parse([flag, value], { from: 'user' })).toThrow(/Write it as a string/);
});

it('accepts the same number as a text', () => {
  const flags = addUserFlags(new Command()).parse(['--attribute', 'id="9007199254740993"'], { from: 'user' });
  expect(userOf(flags.opts()).attributes).toEqual({ id: '9007199254740993' });
});
