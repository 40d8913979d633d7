/**
 * Tells a pooler that gives each transaction whichever server connection is free from one that keeps sessions apart.
 *
 * Poolers do not say which they are. With the first kind, temporary tables and settings stay behind on one server
 * connection while the next statement runs on another one.
 */
import type pg from 'pg';

// One round finds PgBouncer out if nothing else runs. More rounds help if other clients take connections in between.
const rounds = 6;

/** Runs some statements on the client and on another connection to the same address, which it closes. */
export async function switchesServers(client: pg.Client, openAnother: () => Promise<pg.Client>): Promise<boolean> {
  const first = await backendPid(client);
  const other = await openAnother();
  try {
    for (let round = 0; round < rounds; round++) {
      if ((await backendPid(client)) !== first) return true;
      await other.query('begin');
      // The other connection now holds a server process: one that this client believes to have, or one that it may get next.
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
