/**
 * Detects poolers that give each transaction any free server connection instead of keeping sessions.
 *
 * Poolers do not report their mode. With such a pooler, temporary tables and settings stay on one server connection
 * while the next statement runs on another.
 */
import type pg from 'pg';
import { Fault } from '../model/fault.js';

// One round detects PgBouncer if nothing else runs. More rounds help if other clients use connections in between.
const rounds = 6;

const pidText = 'select pg_catalog.pg_backend_pid() as pid';

/**
 * Runs statements on the client and on another connection to the same address, which it closes. Throws if the client does
 * not answer one of them in time; `openAnother` sets the timeout of the other connection.
 */
export async function switchesServers(
  client: pg.Client,
  openAnother: () => Promise<pg.Client>,
  timeoutMs: number,
): Promise<boolean> {
  const backendPid = async (of: pg.Client) => {
    const query: pg.QueryConfig & { query_timeout: number } = { text: pidText, query_timeout: timeoutMs };
    return (await of.query<{ pid: number }>(query)).rows[0]?.pid;
  };
  const first = await backendPid(client);
  const other = await openAnother();
  try {
    for (let round = 0; round < rounds; round++) {
      if ((await backendPid(client)) !== first) return true;
      await other.query('begin');
      // The other connection now holds the server process that this client believes to have, or one that it may get
      // next.
      if ((await backendPid(other)) === first || (await backendPid(client)) !== first) return true;
      await other.query('rollback');
    }
    return false;
  } finally {
    other.end().catch(() => {});
  }
}

/** The fault for a pooler that gives each transaction another server connection, so that no session can keep state. */
export function poolerSwitches(): Fault {
  return new Fault(
    'DATABASE_UNAVAILABLE',
    'The connection pooler does not keep sessions (transaction mode), but this call needs one. ' +
      'Nothing was written. Set DATABASE_DIRECT_URL to a URL that bypasses the pooler.',
  );
}
