/** Page tokens. Each one seals the position where a page ended, for one filter, query and order. */
import { z } from 'zod';
import { type Fault, invalid } from './fault.js';
import { createSealedTokens } from './sealed-token.js';

/** The values of the order terms in the last row (times in milliseconds), and its id. */
export interface PagePosition {
  readonly keys: readonly (string | number)[];
  readonly id: string;
}

/** The request fields that a token is valid for, as they were sent. */
export interface PageScope {
  readonly filter: string;
  readonly query: string;
  readonly orderBy: string;
}

export interface PageTokens {
  seal(position: PagePosition, scope: PageScope): string;
  /** Throws INVALID_PAGE_TOKEN unless seal() created the token for this scope. */
  open(token: string, scope: PageScope): PagePosition;
}

// Enough for two names and an email of 256 characters, with four bytes each, after JSON's escapes and base64.
const tokenCharactersMax = 16_384;

const positionSchema = z.object({ k: z.array(z.union([z.string(), z.number()])), i: z.string() });

export function createPageTokens(secret: Buffer): PageTokens {
  const tokens = createSealedTokens({ secret, kind: 'page token', schema: positionSchema, tokenCharactersMax });
  const textsOf = (scope: PageScope) => [scope.filter, scope.query, scope.orderBy];

  return {
    seal: ({ keys, id }, scope) => tokens.seal({ k: [...keys], i: id }, textsOf(scope)),

    open(token, scope) {
      const position = tokens.open(token, textsOf(scope));
      if (position === undefined) throw invalidPageToken('filter, query and order_by');
      return { keys: position.k, id: position.i };
    },
  };
}

/** The page tokens of a user's changes. Each one seals the entry of the change log where a page ended. */
export interface ChangePageTokens {
  seal(seq: string, userId: string): string;
  /** Throws INVALID_PAGE_TOKEN unless seal() created the token for this user. */
  open(token: string, userId: string): string;
}

export function createChangePageTokens(secret: Buffer): ChangePageTokens {
  const schema = z.string().regex(/^\d{1,19}$/);
  const tokens = createSealedTokens({ secret, kind: 'change page token', schema, tokenCharactersMax: 256 });
  return {
    seal: (seq, userId) => tokens.seal(seq, [userId]),
    open(token, userId) {
      const seq = tokens.open(token, [userId]);
      if (seq === undefined) throw invalidPageToken('id');
      return seq;
    },
  };
}

function invalidPageToken(scope: string): Fault {
  const description = `must be a next_page_token of a call with the same ${scope}`;
  return invalid([{ field: 'page_token', description }], 'INVALID_PAGE_TOKEN');
}
