/**
 * Detects poolers that give each transaction any free server connection instead of keeping sessions.
 *
 * Poolers do not report their mode. With such a pooler, temporary tables and settings stay on one server connection
 * while the next statement runs on another.
 */
import type pg from 'pg';

// One round detects PgBouncer if nothing else runs. More rounds help if other clients use connections in between.
const rounds = 6;

/** Runs statements on the client and on another connection to the same address, which it closes. */
export async function switchesServers(client: pg.Client, openAnother: () => Promise<pg.Client>): Promise<boolean> {
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

async function backendPid(client: pg.Client): Promise<number | undefined> {
  const { rows } = await client.query<{ pid: number }>('select pg_catalog.pg_backend_pid() as pid');
  return rows[0]?.pid;
}
