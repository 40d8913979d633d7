/** A primary and a streaming replica of it, for tests. The replica starts as a copy of the stopped primary. */
import { spawnSync } from 'node:child_process';
import { appendFileSync, chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { vi } from 'vitest';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/embedded-postgres/cluster.js';

export interface TestServer {
  readonly url: string;
  readonly postgres: EmbeddedPostgres;
  query<R extends pg.QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<R[]>;
  /** Opens a connection for a transaction. */
  open(): Promise<pg.Client>;
}

export interface TestReplication extends AsyncDisposable {
  readonly primary: TestServer;
  readonly replica: TestServer & {
    /** From then on, it receives the log, but does not replay it. */
    pause(): Promise<void>;
    resume(): Promise<void>;
    /** Resolves when it has replayed everything that the primary has committed so far. */
    catchUp(): Promise<void>;
  };
}

const waitOptions = { timeout: 60_000, interval: 20 };

function serverOf(postgres: EmbeddedPostgres): TestServer {
  const open = async () => {
    const client = new pg.Client({ connectionString: postgres.url });
    await client.connect();
    return client;
  };
  return {
    url: postgres.url,
    postgres,
    open,
    async query<R extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []) {
      const client = await open();
      try {
        return (await client.query<R>(sql, [...values])).rows;
      } finally {
        await client.end();
      }
    },
  };
}

export async function startReplication(): Promise<TestReplication> {
  const folder = mkdtempSync(join(tmpdir(), 'roster-replication-'));
  // If the tests run as root, the servers run as another user, who must be able to enter the folder.
  chmodSync(folder, 0o755);
  const [primaryDir, replicaDir] = [join(folder, 'primary'), join(folder, 'replica')];
  const first = await startEmbeddedPostgres({ dataDir: primaryDir });
  await serverOf(first).query('alter system set fsync = off');
  await first.stop();

  mkdirSync(replicaDir);
  for (const name of ['pgdata', 'password']) {
    const { status, stderr } = spawnSync('cp', ['-a', join(primaryDir, name), replicaDir], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`cp: ${stderr}`);
  }
  const { uid, gid } = statSync(join(primaryDir, 'pgdata'));
  chownSync(replicaDir, uid, gid);

  const primary = serverOf(await startEmbeddedPostgres({ dataDir: primaryDir }));
  const { hostname, port, username, password } = new URL(primary.url);
  const signal = join(replicaDir, 'pgdata/standby.signal');
  writeFileSync(signal, '');
  chownSync(signal, uid, gid);
  appendFileSync(
    join(replicaDir, 'pgdata/postgresql.auto.conf'),
    `primary_conninfo = 'host=${hostname} port=${port} user=${username} password=${password}'\n`,
  );
  const replica = serverOf(await startEmbeddedPostgres({ dataDir: replicaDir }));

  const wait = (sql: string, values?: readonly unknown[]) =>
    vi.waitUntil(async () => (await replica.query<{ done: boolean }>(sql, values))[0]?.done, waitOptions);
  return {
    primary,
    replica: {
      ...replica,
      async pause() {
        await replica.query('select pg_wal_replay_pause()');
        await wait(`select pg_get_wal_replay_pause_state() = 'paused' as done`);
      },
      async resume() {
        await replica.query('select pg_wal_replay_resume()');
      },
      async catchUp() {
        const [row] = await primary.query<{ lsn: string }>('select pg_current_wal_flush_lsn()::text as lsn');
        await wait('select pg_last_wal_replay_lsn() >= $1::pg_lsn as done', [row?.lsn]);
      },
    },
    async [Symbol.asyncDispose]() {
      await replica.postgres.stop();
      await primary.postgres.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
