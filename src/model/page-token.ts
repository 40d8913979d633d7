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
      if (position === undefined) throw invalidPageToken();
      return { keys: position.k, id: position.i };
    },
  };
}

function invalidPageToken(): Fault {
  const description = 'must be a next_page_token of a call with the same filter, query and order_by';
  return invalid([{ field: 'page_token', description }], 'INVALID_PAGE_TOKEN');
}
