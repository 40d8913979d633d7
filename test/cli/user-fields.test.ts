/** The fields of a user as flags. */
import { Command } from 'commander';
import { expect, it } from 'vitest';
import { addUserFlags, userOf } from '../../src/cli/user-fields.js';

it('reads a key of attributes that is written with an escape, whatever was read before', () => {
  for (const key of ['\\', '"', '\n', '\u0001']) {
    const flags = addUserFlags(new Command()).parse(['--attributes', JSON.stringify({ first: 1, [key]: 1 })], {
      from: 'user',
    });
    expect(Object.keys(userOf(flags.opts()).attributes ?? {})).toEqual(['first', key]);
  }
});
