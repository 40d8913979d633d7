/** Tests that tokens are only valid for their kind, scope and schema. test/model/page-token.test.ts tests the rest. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { createSealedTokens } from '../../src/model/sealed-token.js';

const secret = randomBytes(32);
const tokensOf = (kind: string) =>
  createSealedTokens({ secret, kind, schema: z.object({ place: z.string() }), tokenCharactersMax: 1000 });

describe('a sealed token', () => {
  it('opens to the sealed value in any process of the directory', () => {
    const token = tokensOf('a').seal({ place: 'Ω\u0000"' }, ['one', 'two']);
    expect(tokensOf('a').open(token, ['one', 'two'])).toEqual({ place: 'Ω\u0000"' });
  });

  it('of one kind is invalid for another kind', () => {
    const token = tokensOf('a').seal({ place: 'here' }, []);
    expect(tokensOf('b').open(token, [])).toBeUndefined();
  });

  it('is refused if the texts of the scope are split differently', () => {
    const token = tokensOf('a').seal({ place: 'here' }, ['ab', 'c']);
    for (const scope of [[], ['abc'], ['a', 'bc'], ['ab', 'c', ''], ['ab","c']]) {
      expect(tokensOf('a').open(token, scope)).toBeUndefined();
    }
  });

  it('with the schema of an older version is refused', () => {
    const older = createSealedTokens({
      secret,
      kind: 'a',
      schema: z.object({ at: z.int() }),
      tokenCharactersMax: 1000,
    });
    expect(tokensOf('a').open(older.seal({ at: 7 }, []), [])).toBeUndefined();
  });

  it('that is longer than the limit is refused', () => {
    const token = tokensOf('a').seal({ place: 'x'.repeat(1000) }, []);
    expect(tokensOf('a').open(token, [])).toBeUndefined();
  });
});
