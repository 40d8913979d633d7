/** Who this directory is: read once at the start, and the same for all processes on one database. */
import type { Database } from './database.js';
import { DirectoryRow } from './rows.js';

export interface DirectoryIdentity {
  id: string;
  /** 32 bytes that only the directory's own processes know. Keys are derived from it, it is never used as one. */
  secret: Buffer;
}

export async function readIdentity(database: Database): Promise<DirectoryIdentity> {
  const [row] = await database.dataSource.getRepository(DirectoryRow).find({ take: 1 });
  if (row === undefined) throw new Error('The table "directory" is empty: was the database restored in part?');
  return { id: row.id, secret: row.secret };
}

const feedStatement = { name: '', text: 'select id from change_feed' };

/** Throws if sessions lead to another database than everything else, as a wrong DATABASE_DIRECT_URL makes them. */
export async function checkSessions(database: Database, signal: AbortSignal): Promise<void> {
  await using session = await database.openSession(signal);
  const [[direct] = []] = await session.query(feedStatement.text);
  const [[shared] = []] = await database.run(feedStatement, []);
  if (direct !== shared) throw new Error('DATABASE_DIRECT_URL leads to another database than DATABASE_URL.');
}
