/**
 * Values sealed into tokens that only this directory's processes can make and read; equal ones have the same token.
 *
 * Encrypted and not only signed, because a place in a list may hold names and emails, and tokens end up in URLs and logs.
 */
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, hkdfSync } from 'node:crypto';
import type { z } from 'zod';

export interface SealedTokens<Value> {
  /** `scope` is the texts that the token is good for. They are not in it. */
  seal(value: Value, scope: readonly string[]): string;
  /** Undefined for any token that seal() did not make for this scope. */
  open(token: string, scope: readonly string[]): Value | undefined;
}

const nonceBytes = 12;
const tagBytes = 16;

export interface SealedTokensOptions<Value> {
  /** The directory's, so that a token that one process makes is good with all of them. */
  secret: Buffer;
  /** A token of one kind is none of another. */
  kind: string;
  /** Values are JSON. One of another form, as an older version may have sealed it, is refused. */
  schema: z.ZodType<Value>;
  /** Longer tokens are not looked at. */
  tokenCharactersMax: number;
}

export function createSealedTokens<Value>(options: SealedTokensOptions<Value>): SealedTokens<Value> {
  const { secret, kind, schema, tokenCharactersMax } = options;
  // As key objects: from bytes, Node would make one for each token, which takes five times as long as all the rest.
  const derive = (purpose: string) =>
    createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', `${kind} ${purpose}`, 32)));
  const cipherKey = derive('cipher');
  const nonceKey = derive('nonce');
  // As a list: the same letters cut another way are another scope.
  const boundBytes = (scope: readonly string[]) => Buffer.from(JSON.stringify(scope));

  return {
    seal(value, scope) {
      const text = JSON.stringify(value);
      const bound = boundBytes(scope);
      // A nonce that depends on all that is sealed never repeats for two different texts (the idea of RFC 8452).
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
      if (token.length > tokenCharactersMax) return undefined;
      const bytes = Buffer.from(token, 'base64url');
      // Node's decoder passes over what is no base64url; a changed token is refused, however little that changes.
      if (bytes.length < nonceBytes + tagBytes || bytes.toString('base64url') !== token) return undefined;
      const decipher = createDecipheriv('aes-256-gcm', cipherKey, bytes.subarray(0, nonceBytes), {
        authTagLength: tagBytes,
      })
        .setAAD(boundBytes(scope))
        .setAuthTag(bytes.subarray(-tagBytes));
      try {
        const text = Buffer.concat([decipher.update(bytes.subarray(nonceBytes, -tagBytes)), decipher.final()]);
        return schema.parse(JSON.parse(text.toString()));
      } catch {
        return undefined;
      }
    },
  };
}
