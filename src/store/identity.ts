/** Reads the identity of the directory, which all processes on one database share, when a process starts. */
import type { Database, Statement } from '../database/database.js';
import { ChangeFeedRow } from '../database/entities/change-feed-row.js';
import { DirectoryRow } from '../database/entities/directory-row.js';
import type { LogOrigin } from '../model/consistency-token.js';

export interface DirectoryIdentity {
  id: string;
  /** 32 random bytes. Keys are derived from them; they are never used as a key themselves. */
  secret: Buffer;
}

export async function readIdentity(database: Database): Promise<DirectoryIdentity> {
  const [row] = await database.orm((manager) => manager.find(DirectoryRow));
  if (row === undefined) throw new Error('The table "directory" is empty. Was the database only partly restored?');
  return { id: row.id, secret: row.secret };
}

const originStatement: Statement = {
  name: 'log-origin',
  text: `
    select system_identifier::text, (select oid::text from pg_database where datname = current_database())
    from pg_control_system()`,
};

/** Reads which server's log the database has. */
export async function readLogOrigin(database: Database): Promise<LogOrigin> {
  const [row] = await database.run(originStatement, []);
  const [systemId, databaseOid] = row as [string, string];
  return { systemId, databaseOid };
}

/** Throws if sessions lead to a different database than the pool, because DATABASE_DIRECT_URL is wrong. */
export async function checkSessions(database: Database, signal: AbortSignal): Promise<void> {
  await using session = await database.openSession(signal);
  const [[direct] = []] = await session.query('select id from change_feed');
  const [shared] = await database.orm((manager) => manager.find(ChangeFeedRow));
  if (direct !== shared?.id) throw new Error('DATABASE_DIRECT_URL leads to a different database than DATABASE_URL.');
}
