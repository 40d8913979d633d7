/**
 * Seals values into tokens that only the processes of this directory can create and open. Equal values have equal
 * tokens.
 *
 * Tokens are encrypted, not only signed, because a position in a list may contain names and emails, and tokens appear
 * in URLs and logs.
 */
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, hkdfSync } from 'node:crypto';
import type { z } from 'zod';

export interface SealedTokens<Value> {
  /** The token is valid only with the same `scope`. It does not contain the scope. */
  seal(value: Value, scope: readonly string[]): string;
  /** Returns undefined unless seal() created the token for this scope. */
  open(token: string, scope: readonly string[]): Value | undefined;
}

const nonceBytes = 12;
const tagBytes = 16;

export interface SealedTokensOptions<Value> {
  /** The directory's secret, which all its processes share. */
  secret: Buffer;
  /** A token of one kind is invalid for another kind. */
  kind: string;
  /** Values are JSON. A token with another schema, such as one of an older version, is invalid. */
  schema: z.ZodType<Value>;
  /** Longer tokens are invalid. */
  tokenCharactersMax: number;
}

export function createSealedTokens<Value>(options: SealedTokensOptions<Value>): SealedTokens<Value> {
  const { secret, kind, schema, tokenCharactersMax } = options;
  // Otherwise, Node would create a key object from the bytes for each token, which takes five times as long as the
  // rest.
  const derive = (purpose: string) =>
    createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', `${kind} ${purpose}`, 32)));
  const cipherKey = derive('cipher');
  const nonceKey = derive('nonce');
  // JSON separates the texts: ["ab", "c"] and ["a", "bc"] are different scopes.
  const bytesOf = (scope: readonly string[]) => Buffer.from(JSON.stringify(scope));

  return {
    seal(value, scope) {
      const text = JSON.stringify(value);
      const scopeBytes = bytesOf(scope);
      // The nonce is a keyed hash of the value and the scope, so different values have different nonces (see RFC 8452).
      const nonce = createHmac('sha256', nonceKey)
        .update(scopeBytes)
        .update('\0')
        .update(text)
        .digest()
        .subarray(0, nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', cipherKey, nonce).setAAD(scopeBytes);
      return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()]).toString('base64url');
    },

    open(token, scope) {
      if (token.length > tokenCharactersMax) return undefined;
      const bytes = Buffer.from(token, 'base64url');
      // Node's decoder ignores characters that are not base64url. The comparison rejects tokens that have them.
      if (bytes.length < nonceBytes + tagBytes || bytes.toString('base64url') !== token) return undefined;
      const decipher = createDecipheriv('aes-256-gcm', cipherKey, bytes.subarray(0, nonceBytes), {
        authTagLength: tagBytes,
      })
        .setAAD(bytesOf(scope))
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
