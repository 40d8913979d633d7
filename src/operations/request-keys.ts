/** Request ids with a digest of all the fields that were asked for, so that a repeated call is told from another one with the same id. */
import { createHmac, createSecretKey, hkdfSync } from 'node:crypto';
import type { JsonValue, UserFields } from '../model/user.js';
import type { RequestKey } from '../store/users.js';

export interface RequestKeys {
  keyOf(requestId: string, users: readonly UserFields[]): RequestKey;
}

/** The digest is keyed with the directory's secret: alone it cannot be used to try out whom it was made of. */
export function createRequestKeys(secret: Buffer): RequestKeys {
  const key = createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', 'request digest', 32)));
  return {
    keyOf(requestId, users) {
      const hmac = createHmac('sha256', key);
      for (const { firstName, lastName, email, profileImageUrl, attributes, ...others } of users) {
        // A new field is a type error here until it has its place in the digest.
        others satisfies Record<string, never>;
        hmac.update(JSON.stringify([firstName, lastName, email, profileImageUrl, inOrder(attributes)]));
      }
      return { id: requestId, digest: hmac.digest() };
    },
  };
}

/** Maps have no order on the wire: a client may send one's keys in another order when it tries again. */
function inOrder(value: JsonValue): JsonValue {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(inOrder);
  const sorted = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return { sorted: sorted.map(([key, child]) => [key, inOrder(child)]) };
}
