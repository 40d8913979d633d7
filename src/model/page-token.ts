/**
 * Page tokens: where a page ended, sealed for one filter, query and order.
 *
 * Encrypted and not only signed, because a position holds names and emails, and tokens end up in URLs and logs.
 */
import { createCipheriv, createDecipheriv, createHmac, hkdfSync } from 'node:crypto';
import { z } from 'zod';
import { type Fault, invalid } from './fault.js';

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

const nonceBytes = 12;
const tagBytes = 16;
// Two names of 256 characters and an email, of four bytes each, with JSON's escapes and base64; and some more.
const tokenCharactersMax = 16_384;

const positionSchema = z.object({ k: z.array(z.union([z.string(), z.number()])), i: z.string() });

/** `secret` is the directory's, so that a token that one process makes is good with all of them. */
export function createPageTokens(secret: Buffer): PageTokens {
  const derive = (purpose: string) => Buffer.from(hkdfSync('sha256', secret, '', `page token ${purpose}`, 32));
  const cipherKey = derive('cipher');
  const nonceKey = derive('nonce');
  const scopeBytes = (scope: PageScope) => Buffer.from(JSON.stringify([scope.filter, scope.query, scope.orderBy]));

  return {
    seal(position, scope) {
      const text = Buffer.from(JSON.stringify({ k: position.keys, i: position.id }));
      const bound = scopeBytes(scope);
      // A nonce that depends on all that is sealed never repeats for two different texts (the idea of RFC 8452), and
      // the same page always has the same token.
      const nonce = createHmac('sha256', nonceKey)
        .update(bound)
        .update('\0')
        .update(text)
        .digest()
        .subarray(0, nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', cipherKey, nonce).setAAD(bound);
      return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]).toString('base64url');
    },

    open(token, scope) {
      if (token.length > tokenCharactersMax) throw refuse();
      const bytes = Buffer.from(token, 'base64url');
      // Node's decoder passes over what is no base64url; a changed token is refused, however little that changes.
      if (bytes.length < nonceBytes + tagBytes || bytes.toString('base64url') !== token) throw refuse();
      const decipher = createDecipheriv('aes-256-gcm', cipherKey, bytes.subarray(0, nonceBytes), {
        authTagLength: tagBytes,
      })
        .setAAD(scopeBytes(scope))
        .setAuthTag(bytes.subarray(-tagBytes));
      try {
        const text = Buffer.concat([decipher.update(bytes.subarray(nonceBytes, -tagBytes)), decipher.final()]);
        const { k, i } = positionSchema.parse(JSON.parse(text.toString()));
        return { keys: k, id: i };
      } catch {
        throw refuse();
      }
    },
  };
}

function refuse(): Fault {
  const description = 'must be a next_page_token of a call with the same filter, query and order_by';
  return invalid([{ field: 'page_token', description }], 'INVALID_PAGE_TOKEN');
}
