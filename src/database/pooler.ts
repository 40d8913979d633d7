/**
 * Detects poolers in transaction mode, which give each transaction any free server connection. Temporary tables and
 * settings are then lost, because the next statement may run on another connection.
 *
 * Poolers do not report their mode.
 */
import type pg from 'pg';
import { Fault } from '../model/fault.js';

// One round detects PgBouncer if nothing else runs. More rounds help if other clients use connections in between.
const rounds = 6;

const pidText = 'select pg_catalog.pg_backend_pid() as pid';

/**
 * Whether the client is connected to a pooler in transaction mode. Runs statements on it and on another connection to
 * the same address. Throws if a statement of the client takes longer than `timeoutMs`; `openAnother` sets the timeout
 * of the other connection.
 */
export async function isTransactionPooler(
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
      // This transaction may occupy the client's server process. The client then gets another one.
      if ((await backendPid(other)) === first || (await backendPid(client)) !== first) return true;
      await other.query('rollback');
    }
    return false;
  } finally {
    other.end().catch(() => {});
  }
}

/** The Fault for work that needs a session if the pooler is in transaction mode. */
export function transactionPoolerFault(): Fault {
  return new Fault(
    'DATABASE_UNAVAILABLE',
    'The connection pooler does not keep sessions (transaction mode), but this call needs one. ' +
      'Nothing was written. Set DATABASE_DIRECT_URL to a URL that bypasses the pooler.',
  );
}
