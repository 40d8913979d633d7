/** Runs the commands of an operator on the database that `roster serve` would use, also while it serves. */
import { unlessAborted } from './concurrency/abort.js';
import type { ServerConfig } from './config/parse.js';
import { type Database, openDatabase } from './database/database.js';
import { migrationStatus } from './database/migrate.js';
import { explaining, findDatabase } from './find-database.js';
import { type CreatedApiKey, createApiKey, type NewApiKey } from './operations/api-keys.js';
import { type ApiKey, listKeys, revokeKey } from './store/api-keys.js';
import { type EmailSearch, findEmail } from './store/find-email.js';
import type { LogDestination } from './telemetry/line-writer.js';
import { createLog } from './telemetry/log.js';

export interface MaintenanceOptions {
  readonly signal: AbortSignal;
  readonly logTo: LogDestination;
}

/** Opens the database for `work`. Throws if its schema is older or newer than this version's. */
async function withDatabase<T>(
  config: ServerConfig,
  { signal, logTo }: MaintenanceOptions,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const log = createLog({ ...config.log, destination: logTo });
  const found = await findDatabase(config, log, signal);
  try {
    return await explaining(config, found, async (options) => {
      const { pending, unknown } = await unlessAborted(migrationStatus(options), signal);
      if (pending.length > 0) throw new Error('The database needs migrations. Run "roster migrate up" first.');
      if (unknown.length > 0) throw new Error('The database is from a newer Roster. Run that version.');
      const database = await unlessAborted(openDatabase(options), signal);
      try {
        return await unlessAborted(work(database), signal);
      } finally {
        await database.close();
      }
    });
  } finally {
    await found.embedded?.stop();
  }
}

/** Runs `roster key create`. */
export function createKey(
  config: ServerConfig,
  key: NewApiKey,
  options: MaintenanceOptions,
): Promise<CreatedApiKey | 'NAME_TAKEN' | 'TOO_MANY_KEYS'> {
  return withDatabase(config, options, (database) => createApiKey(database, key));
}

/** Runs `roster key list`. */
export function listAllKeys(config: ServerConfig, options: MaintenanceOptions): Promise<ApiKey[]> {
  return withDatabase(config, options, listKeys);
}

/** Runs `roster key revoke`. Returns undefined if no live key has this name, or if another operator was faster. */
export function revokeKeyNamed(
  config: ServerConfig,
  name: string,
  options: MaintenanceOptions & { confirm(key: ApiKey): Promise<void> },
): Promise<ApiKey | undefined> {
  return withDatabase(config, options, async (database) => {
    const key = (await listKeys(database)).find((listed) => listed.name === name && listed.revokeTime === null);
    if (key === undefined) return undefined;
    await options.confirm(key);
    return (await revokeKey(database, key.id)) ? key : undefined;
  });
}

/** Runs `roster erasure-check`. */
export function searchForEmail(config: ServerConfig, email: string, options: MaintenanceOptions): Promise<EmailSearch> {
  return withDatabase(config, options, (database) => findEmail(database, email, options.signal));
}
