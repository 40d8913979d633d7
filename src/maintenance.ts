/** Runs the commands of an operator on the database that `roster serve` would use, also while it serves. */
import { unlessAborted } from './concurrency/abort.js';
import { ConfigError, type ServerConfig } from './config/parse.js';
import { type Database, openDatabase } from './database/database.js';
import { migrationStatus } from './database/migrate.js';
import { explaining, findDatabase } from './find-database.js';
import { builtInRoles } from './model/caller.js';
import { type CreatedApiKey, createApiKey, type NewApiKey } from './operations/api-keys.js';
import { AccessFileError, readAccessFile } from './policy/access-file.js';
import { type ApiKey, listKeys, revokeKey } from './store/api-keys.js';
import { type EmailSearch, findEmail } from './store/find-email.js';
import { type AuditDetails, type AuditRecord, openAuditLog, recordOnce } from './telemetry/audit-log.js';
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

/** The roles that an API key can have. Throws ConfigError if the access file is invalid. */
export function knownRoles({ auth }: ServerConfig): string[] {
  try {
    return [...builtInRoles, ...(auth.accessFile === undefined ? [] : readAccessFile(auth.accessFile).roles.keys())];
  } catch (error) {
    throw error instanceof AccessFileError ? new ConfigError(error.problems) : error;
  }
}

/** Runs `roster key create`. */
export function createKey(
  config: ServerConfig,
  key: NewApiKey,
  options: MaintenanceOptions,
): Promise<CreatedApiKey | 'NAME_TAKEN' | 'TOO_MANY_KEYS'> {
  return withDatabase(config, options, async (database) => {
    const created = await createApiKey(database, key);
    if (typeof created === 'string') return created;
    try {
      await recordKeyChange(
        config,
        'key create',
        { key: created.id, name: created.name, roles: created.roles },
        options,
      );
    } catch (error) {
      // Nobody has seen the key.
      await revokeKey(database, created.id);
      throw auditFailure('The key was not created, because', error);
    }
    return created;
  });
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
    if (!(await revokeKey(database, key.id))) return undefined;
    try {
      await recordKeyChange(config, 'key revoke', { key: key.id, name }, options);
    } catch (error) {
      throw auditFailure('The key was revoked, but', error);
    }
    return key;
  });
}

async function recordKeyChange(
  { auditLog }: ServerConfig,
  method: string,
  details: AuditDetails,
  { logTo }: MaintenanceOptions,
): Promise<void> {
  const record: AuditRecord = { event: 'key', actor: '', method: `roster ${method}`, status: 'OK', details };
  // The standard output has only the result.
  if (auditLog === 'stdout') openAuditLog(auditLog, { destination: logTo })?.record(record);
  else await recordOnce(auditLog, record);
}

function auditFailure(beginning: string, cause: unknown): Error {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new Error(`${beginning} the audit log cannot be written: ${why}`, { cause });
}

/** Runs `roster erasure-check`. */
export function searchForEmail(config: ServerConfig, email: string, options: MaintenanceOptions): Promise<EmailSearch> {
  return withDatabase(config, options, (database) => findEmail(database, email, options.signal));
}
