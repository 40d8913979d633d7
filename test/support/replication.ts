/** A primary and a standby of it, whose replay a test can pause. */
import { vi } from 'vitest';
import { createRosterServers, type PostgresServer } from './postgres-servers.js';

export interface TestReplication extends AsyncDisposable {
  readonly primary: PostgresServer;
  readonly replica: Omit<PostgresServer, 'catchUp'> & {
    /** From then on, it receives the log, but does not replay it. */
    pause(): Promise<void>;
    resume(): Promise<void>;
    /** Resolves when it has replayed everything that the primary has committed so far. */
    catchUp(): Promise<void>;
  };
}

const waitOptions = { timeout: 60_000, interval: 20 };

/** `postgres` is as for createRosterServers(). */
export async function startReplication(postgres?: string): Promise<TestReplication> {
  const servers = await createRosterServers(postgres);
  const primary = servers.empty;
  const replica = await primary.copyAsStandby();
  await primary.start();
  await replica.start();
  const isPaused = async () => {
    const sql = `select pg_get_wal_replay_pause_state() = 'paused' as done`;
    return (await replica.query<{ done: boolean }>(sql))[0]?.done;
  };
  return {
    primary,
    replica: {
      ...replica,
      async pause() {
        await replica.query('select pg_wal_replay_pause()');
        await vi.waitUntil(isPaused, waitOptions);
      },
      async resume() {
        await replica.query('select pg_wal_replay_resume()');
      },
      catchUp: () => replica.catchUp(primary),
    },
    [Symbol.asyncDispose]: () => servers[Symbol.asyncDispose](),
  };
}
