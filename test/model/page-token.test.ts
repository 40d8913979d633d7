/** Tests that only the directory that created a page token can read it. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fault } from '../../src/model/fault.js';
import {
  createChangePageTokens,
  createPageTokens,
  type PagePosition,
  type PageScope,
} from '../../src/model/page-token.js';

const secret = randomBytes(32);
const tokens = createPageTokens(secret);
const scope: PageScope = { filter: 'first_name == "Ada"', query: 'ada', orderBy: 'email desc' };
const position: PagePosition = {
  keys: ['ada@example.com', 1_700_000_000_000],
  id: '0190a5b0-1234-7abc-8def-0123456789ab',
};

const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const anyPosition = fc.record({ keys: fc.array(fc.oneof(text, fc.integer()), { maxLength: 5 }), id: fc.uuid() });
const anyScope = fc.record({ filter: text, query: text, orderBy: text });

function refusal(token: string, of: PageScope = scope, by = tokens): Fault {
  try {
    by.open(token, of);
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error('the token was taken');
}

function expectRefused(token: string, of?: PageScope, by?: typeof tokens): void {
  const { reason, violations } = refusal(token, of, by);
  // Runs thousands of times, so it avoids slow matchers of objects.
  expect(`${reason} ${violations[0]?.field}`).toBe('INVALID_PAGE_TOKEN page_token');
}

describe('a page token', () => {
  it('opens to the sealed position', () => {
    fc.assert(
      fc.property(anyPosition, anyScope, (sealed, of) => {
        expect(tokens.open(tokens.seal(sealed, of), of)).toEqual(sealed);
      }),
    );
  });

  it('opens in another process of the same directory', () => {
    const elsewhere = createPageTokens(Buffer.from(secret));
    expect(elsewhere.open(tokens.seal(position, scope), scope)).toEqual(position);
  });

  it('is the same for the same page, and different for every other page or scope', () => {
    expect(tokens.seal(position, scope)).toBe(tokens.seal(position, scope));
    fc.assert(
      fc.property(anyPosition, anyScope, (other, of) => {
        const token = tokens.seal(other, of);
        // The first 16 characters are the nonce, which must differ for different positions and scopes.
        expect(token.slice(0, 16)).not.toBe(tokens.seal(other, { ...of, query: `${of.query}x` }).slice(0, 16));
        expect(token.slice(0, 16)).not.toBe(tokens.seal(position, scope).slice(0, 16));
        expect(token.slice(0, 16)).not.toBe(tokens.seal({ ...other, keys: [...other.keys, 1] }, of).slice(0, 16));
      }),
    );
  });

  it('is refused if any one of its characters was changed', () => {
    const token = tokens.seal(position, scope);
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= \n.é';
    for (let index = 0; index < token.length; index++) {
      // Try all characters at the end, because the lowest bits of the last one have no meaning.
      for (const letter of index < token.length - 2 ? 'Aa-= ' : alphabet) {
        if (letter !== token[index]) expectRefused(token.slice(0, index) + letter + token.slice(index + 1));
      }
    }
  });

  it('is refused if it was cut or extended', () => {
    const token = tokens.seal(position, scope);
    for (let length = 0; length < token.length; length++) {
      expectRefused(token.slice(0, length));
      expectRefused(token.slice(length + 1));
    }
    for (const more of ['A', '=', '==', ' ', '\n', '\0', 'AAAA']) {
      expectRefused(token + more);
      expectRefused(more + token);
    }
  });

  it('is refused for another filter, query or order, even if their concatenation is the same', () => {
    fc.assert(
      fc.property(anyPosition, anyScope, anyScope, (sealed, of, other) => {
        fc.pre(JSON.stringify(of) !== JSON.stringify(other));
        expectRefused(tokens.seal(sealed, of), other);
      }),
    );
    const token = tokens.seal(position, { filter: 'a', query: 'b', orderBy: '' });
    expectRefused(token, { filter: 'ab', query: '', orderBy: '' });
    expectRefused(token, { filter: '', query: 'ab', orderBy: '' });
    expectRefused(token, { filter: 'b', query: 'a', orderBy: '' });
    expectRefused(token, { filter: 'a","b', query: '', orderBy: '' });
  });

  it('is refused by another directory', () => {
    expectRefused(tokens.seal(position, scope), scope, createPageTokens(randomBytes(32)));
  });

  it('is refused if it is not a token', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.base64String(),
          fc.uint8Array().map((b) => Buffer.from(b).toString('base64url')),
        ),
        (garbage) => {
          expectRefused(garbage);
        },
      ),
    );
    expectRefused('A'.repeat(4_000_000));
  });

  it('does not reveal its content, and neither does the error', () => {
    const token = tokens.seal(position, scope);
    const bytes = Buffer.from(token, 'base64url').toString('latin1');
    expect(bytes).not.toContain('ada');
    expect(bytes).not.toContain(position.id);
    expect(JSON.stringify(refusal(`${token}ada`))).not.toContain('ada');
  });

  it('opens for the longest possible names and emails', () => {
    // U+1D160 is three code points in NFC, which an email's key uses. The limit of each is 256.
    const long = {
      keys: ['😀'.repeat(256), '"'.repeat(256), '\u{1d158}\u{1d165}\u{1d16e}'.repeat(256), 1, 2],
      id: position.id,
    };
    expect(tokens.open(tokens.seal(long, scope), scope)).toEqual(long);
  });
});

describe("a page token of a user's changes", () => {
  const changeTokens = createChangePageTokens(secret);
  const userId = position.id;

  it('opens only for the same user', () => {
    const token = changeTokens.seal('9223372036854775806', userId);
    expect(changeTokens.open(token, userId)).toBe('9223372036854775806');
    const other = '0190a5b0-1234-7abc-8def-0123456789ac';
    expect(() => changeTokens.open(token, other)).toThrow('must be a next_page_token of a call with the same id');
  });

  it('is not a page token of a list, and the other way round', () => {
    const token = tokens.seal(position, { filter: userId, query: '', orderBy: '' });
    expect(() => changeTokens.open(token, userId)).toThrow(Fault);
    expectRefused(changeTokens.seal('1', userId), { filter: userId, query: '', orderBy: '' });
  });
});
