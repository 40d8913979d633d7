/** Page tokens: where a page ended, sealed for one filter, query and order. */
import { z } from 'zod';
import { type Fault, invalid } from './fault.js';
import { createSealedTokens } from './sealed-token.js';

/** The values of the last row's order terms (times in milliseconds), and its id. */
export interface PagePosition {
  readonly keys: readonly (string | number)[];
  readonly id: string;
}

/** What a token is good for, as the caller wrote it. */
export interface PageScope {
  readonly filter: string;
  readonly query: string;
  readonly orderBy: string;
}

export interface PageTokens {
  seal(position: PagePosition, scope: PageScope): string;
  /** Throws INVALID_PAGE_TOKEN for any text that seal() did not make for this scope. */
  open(token: string, scope: PageScope): PagePosition;
}

// Two names of 256 characters and an email, of four bytes each, with JSON's escapes and base64; and some more.
const tokenCharactersMax = 16_384;

const positionSchema = z.object({ k: z.array(z.union([z.string(), z.number()])), i: z.string() });

export function createPageTokens(secret: Buffer): PageTokens {
  const tokens = createSealedTokens({ secret, kind: 'page token', schema: positionSchema, tokenCharactersMax });
  const textsOf = (scope: PageScope) => [scope.filter, scope.query, scope.orderBy];

  return {
    seal: ({ keys, id }, scope) => tokens.seal({ k: [...keys], i: id }, textsOf(scope)),

    open(token, scope) {
      const position = tokens.open(token, textsOf(scope));
      if (position === undefined) throw refuse();
      return { keys: position.k, id: position.i };
    },
  };
}

function refuse(): Fault {
  const description = 'must be a next_page_token of a call with the same filter, query and order_by';
  return invalid([{ field: 'page_token', description }], 'INVALID_PAGE_TOKEN');
}
