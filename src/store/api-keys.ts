/** The table `api_keys`: reading the keys that servers accept, and creating, listing and revoking keys. */
import type { Row } from '../database/columns.js';
import type { Database, RunStatement, Statement } from '../database/database.js';
import { ApiKeyRow } from '../database/entities/api-key-row.js';

/** Every server process has all of them in memory, and reads them every two seconds. */
export const liveKeysMax = 1_000;

/** A key that is not revoked. It may have expired. */
export interface LiveKey {
  readonly id: string;
  readonly name: string;
  readonly digest: Buffer;
  readonly roles: readonly string[];
  readonly expireTime: Date | null;
}

/** A key as an operator sees it. */
export type ApiKey = Omit<ApiKeyRow, 'digest'>;

// The partial index on names leads to the live keys, however many others there are.
const liveKeysStatement: Statement = {
  name: 'live-keys',
  text: `select id, name, digest, roles, expire_time from api_keys where revoke_time is null limit ${liveKeysMax}`,
};

export async function readLiveKeys(run: RunStatement): Promise<LiveKey[]> {
  return (await run(liveKeysStatement, [])).map(([id, name, digest, roles, expireTime]: Row) => ({
    id: id as string,
    name: name as string,
    digest: digest as Buffer,
    roles: roles as string[],
    expireTime: expireTime as Date | null,
  }));
}

// Several processes may note a use at the same time, and one of them writes.
const notedUsesStatement: Statement = {
  name: 'note-key-uses',
  text: `
    update api_keys set last_use_time = now()
    where id = any($1) and (last_use_time is null or last_use_time < now() - interval '50 s')`,
};

export async function noteKeyUses(run: RunStatement, ids: readonly string[]): Promise<void> {
  await run(notedUsesStatement, [ids]);
}

export interface NewKey {
  readonly id: string;
  readonly name: string;
  readonly digest: Buffer;
  readonly roles: readonly string[];
  /** Undefined for a key that does not expire. */
  readonly lifetimeSeconds: number | undefined;
}

const insertStatement: Statement = {
  name: '',
  text: `
    insert into api_keys (id, name, digest, roles, expire_time)
    select $1, $2, $3, $4, now() + $5 * interval '1 second'
    where (select count(*) from api_keys where revoke_time is null) < ${liveKeysMax}
    on conflict (name) where revoke_time is null do nothing
    returning id`,
};

/** Returns undefined if a live key has this name, or if there are too many keys. */
export async function insertKey(database: Database, key: NewKey): Promise<ApiKey | undefined> {
  const { id, name, digest, roles, lifetimeSeconds } = key;
  const inserted = await database.run(insertStatement, [id, name, digest, roles, lifetimeSeconds ?? null]);
  if (inserted.length === 0) return undefined;
  return (await listKeys(database)).find((listed) => listed.id === id);
}

/** The live keys come first, ordered by name. */
export function listKeys(database: Database): Promise<ApiKey[]> {
  return database.orm((manager) =>
    manager.find(ApiKeyRow, {
      select: {
        id: true,
        name: true,
        roles: true,
        createTime: true,
        expireTime: true,
        revokeTime: true,
        lastUseTime: true,
      },
      order: { revokeTime: { direction: 'desc', nulls: 'first' }, name: 'asc' },
    }),
  );
}

/** Returns false if the key does not exist or is already revoked. */
export async function revokeKey(database: Database, id: string): Promise<boolean> {
  const revoked = await database.run(
    { name: '', text: 'update api_keys set revoke_time = now() where id = $1 and revoke_time is null returning id' },
    [id],
  );
  return revoked.length > 0;
}
