/** Creates, lists and revokes API keys, for an operator. */
import type { Database } from '../database/database.js';
import { apiKeyText, digestOf, newApiKey } from '../model/api-key.js';
import { type ApiKey, insertKey, listKeys, liveKeysMax } from '../store/api-keys.js';

export interface NewApiKey {
  readonly name: string;
  readonly roles: readonly string[];
  /** Undefined for a key that does not expire. */
  readonly lifetimeSeconds: number | undefined;
}

export interface CreatedApiKey extends ApiKey {
  /** The whole key. Nothing else has it: the database only has a digest. */
  readonly key: string;
}

/** Returns why there is no new key, or the key. */
export async function createApiKey(
  database: Database,
  { name, roles, lifetimeSeconds }: NewApiKey,
): Promise<CreatedApiKey | 'NAME_TAKEN' | 'TOO_MANY_KEYS'> {
  const { id, secret } = newApiKey();
  const row = { id, name, digest: digestOf(secret), roles: [...new Set(roles)].sort(), lifetimeSeconds };
  const inserted = await insertKey(database, row);
  if (inserted !== undefined) return { ...inserted, key: apiKeyText({ id, secret }) };
  const live = (await listKeys(database)).filter(({ revokeTime }) => revokeTime === null);
  return live.length >= liveKeysMax ? 'TOO_MANY_KEYS' : 'NAME_TAKEN';
}
