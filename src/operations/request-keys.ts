/** Combines a request id with a digest of the request, because only a call with the same digest is a repeated call. */
import { createHmac, createSecretKey, hkdfSync } from 'node:crypto';
import { textFields } from '../fields.js';
import type { JsonValue, UserFields } from '../model/user.js';
import type { RequestKey } from '../store/request-ids.js';

export interface RequestKeys {
  keyOf(requestId: string, users: readonly UserFields[]): RequestKey;
}

/** The directory's secret keys the digest, so that nobody can use a digest to test guesses about the user. */
export function createRequestKeys(secret: Buffer): RequestKeys {
  const key = createSecretKey(Buffer.from(hkdfSync('sha256', secret, '', 'request digest', 32)));
  return {
    keyOf(requestId, users) {
      const hmac = createHmac('sha256', key);
      for (const user of users) {
        // Without empty texts, so that an upgrade that adds a field does not change the digest of a repeated call.
        const texts = textFields.flatMap(({ path, name }) => (user[name] === '' ? [] : [[path, user[name]]]));
        hmac.update(JSON.stringify([texts, withSortedKeys(user.attributes)]));
      }
      return { id: requestId, digest: hmac.digest() };
    },
  };
}

/** Sorts keys, because maps have no order on the wire and a retry may send them in another order. */
function withSortedKeys(value: JsonValue): JsonValue {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(withSortedKeys);
  const sorted = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return { sorted: sorted.map(([key, child]) => [key, withSortedKeys(child)]) };
}
