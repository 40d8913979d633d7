/** One replica between two checks, while its real server restarts or crashes. */
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { noPgBouncer, startPgBouncer } from '../../bench/pgbouncer.js';
import { OtherServerFault } from '../../src/database/connection.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import { createServerProbe } from '../../src/database/server-probe.js';
import { createLogPositions } from '../../src/operations/log-positions.js';
import { Replica, type UnusedReason } from '../../src/operations/replica.js';
import { openUsersSnapshot } from '../../src/store/export-users.js';
import { readLogOrigin } from '../../src/store/identity.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { readFeedPosition } from '../../src/store/read-changes.js';
import { databaseOptions, someFields } from '../support/open-database.js';
import { createRosterServers, type PostgresServer, type PostgresServers } from '../support/postgres-servers.js';

let servers: PostgresServers;
let primary: PostgresServer;
let database: Database;
beforeAll(async () => {
  servers = await createRosterServers();
  primary = await servers.empty.copy();
  await primary.start();
  database = await openDatabase(databaseOptions(primary.url));
});
afterAll(async () => {
  await database?.close();
  await servers?.[Symbol.asyncDispose]();
});

interface ReplicaOptions {
  /** Returns the URL that reads use. */
  readonly urlOf?: (server: PostgresServer) => Promise<string>;
  readonly preparedStatements?: boolean;
}

/** A replica that reads use. Nothing checks it except the test. */
async function openReplica({ urlOf = async ({ url }) => url, preparedStatements = true }: ReplicaOptions = {}) {
  await primary.stop();
  const server = await primary.copyAsStandby();
  await primary.start();
  await server.start();
  const url = await urlOf(server);
  const reasons: (UnusedReason | undefined)[] = [];
  const positions = createLogPositions(60_000);
  positions.add(0n, performance.now());
  const replica = new Replica(
    {
      name: 'standby',
      probe: createServerProbe(url, 30_000),
      open: (expectedRun) =>
        openDatabase(databaseOptions(url, { acceptsStandby: true, expectedRun, preparedStatements })),
    },
    {
      origin: await readLogOrigin(database),
      primary: positions,
      lagMsMax: 3_600_000,
      onChange: (_, reason) => void reasons.push(reason),
    },
    (opened) => ({ database: opened, close: async () => {} }),
  );
  onTestFinished(() => replica.close());
  await replica.check();
  expect(reasons).toEqual([undefined]);
  return { server, replica, reasons };
}

const countText = { name: '', text: 'select count(*)::integer from users' };
const countUsers = (of: Database | undefined) => of?.run(countText, []).then(([row]) => row?.[0]);

/** After a crash, a server may have replayed less than before. */
async function losesReplay(options?: ReplicaOptions): Promise<void> {
  const { server, replica, reasons } = await openReplica(options);
  await server.catchUp(primary);
  const position = await readFeedPosition(database);
  const before = await countUsers(replica.reads?.database);
  await insertUsers(database, [{ id: uuidv7(), fields: someFields(), request: undefined }]);
  await server.catchUp(primary);
  await replica.check();
  const { logPosition, generation } = replica;
  expect(await countUsers(replica.reads?.database)).toBe(Number(before) + 1);

  // After the crash, it replays only what it must.
  await server.query(`alter system set recovery_min_apply_delay = '1h'`);
  await server.query('select pg_reload_conf()');
  await server.crash();
  expect(await server.query('select count(*)::integer from users')).toEqual([{ count: before }]);
  const read = await countUsers(replica.reads?.database)?.catch((error: unknown) => error);
  expect(read).toBeInstanceOf(OtherServerFault);
  const scan = replica.reads?.database.withConnection(AbortSignal.timeout(60_000), (run) => run(countText, []));
  await expect(scan).rejects.toBeInstanceOf(OtherServerFault);
  await expect(
    openUsersSnapshot(replica.reads?.database as Database, { position }, AbortSignal.timeout(60_000)),
  ).rejects.toBeInstanceOf(OtherServerFault);
  replica.noteFailure(read, false);
  expect(replica.reads).toBeUndefined();

  await expect.poll(() => replica.check().then(() => replica.reads), { timeout: 60_000 }).toBeDefined();
  expect(replica.logPosition).toBeLessThan(logPosition);
  expect(replica.generation).toBeGreaterThan(generation);
  expect(await countUsers(replica.reads?.database)).toBe(before);
  expect(reasons).not.toContain('several servers');
}

it('a read does not reach a server that has lost a part of its replay in a crash', () => losesReplay());

describe.skipIf(noPgBouncer)(`PgBouncer before a replica${noPgBouncer ? `: ${noPgBouncer}` : ''}`, () => {
  it('does not hide the crash of the server from reads', () =>
    losesReplay({
      preparedStatements: false,
      async urlOf({ url }) {
        const pooler = await startPgBouncer(url, { mode: 'transaction' });
        onTestFinished(() => pooler[Symbol.asyncDispose]());
        return pooler.url;
      },
    }));
});

it('a restart between two checks does not look like several servers', async () => {
  const { server, replica, reasons } = await openReplica();
  await server.stop();
  await server.start();
  const read = await countUsers(replica.reads?.database)?.catch((error: unknown) => error);
  expect(read).toBeInstanceOf(OtherServerFault);
  replica.noteFailure(read, false);
  expect(replica.reads).toBeUndefined();
  await expect.poll(() => replica.check().then(() => replica.reads), { timeout: 60_000 }).toBeDefined();
  expect(reasons).toEqual([undefined, 'unreachable', undefined]);
});

it('a reset of the statistics does not look like several servers', async () => {
  const { server, replica, reasons } = await openReplica();
  await server.query(`select pg_stat_reset_shared('bgwriter')`);
  const read = await countUsers(replica.reads?.database)?.catch((error: unknown) => error);
  replica.noteFailure(read, false);
  await expect.poll(() => replica.check().then(() => replica.reads), { timeout: 60_000 }).toBeDefined();
  expect(reasons).toEqual([undefined]);
});
