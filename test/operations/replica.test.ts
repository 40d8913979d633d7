/** One replica between two checks, while its real server restarts or crashes. */
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { OtherServerFault } from '../../src/database/connection.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import { createServerProbe } from '../../src/database/server-probe.js';
import { createLogPositions } from '../../src/operations/log-positions.js';
import { Replica, type UnusedReason } from '../../src/operations/replica.js';
import { readLogOrigin } from '../../src/store/identity.js';
import { insertUsers } from '../../src/store/insert-users.js';
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

/** A replica that reads use. Nothing checks it except the test. */
async function openReplica() {
  await primary.stop();
  const server = await primary.copyAsStandby();
  await primary.start();
  await server.start();
  const reasons: (UnusedReason | undefined)[] = [];
  const positions = createLogPositions(60_000);
  positions.add(0n, performance.now());
  const replica = new Replica(
    {
      name: 'standby',
      probe: createServerProbe(server.url, 30_000),
      open: (expectedRun) => openDatabase(databaseOptions(server.url, { acceptsStandby: true, expectedRun })),
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

const countUsers = (of: Database | undefined) =>
  of?.run({ name: '', text: 'select count(*)::integer from users' }, []).then(([row]) => row?.[0]);

it('a read does not reach a server that has lost a part of its replay in a crash', async () => {
  const { server, replica, reasons } = await openReplica();
  await server.catchUp(primary);
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
  replica.noteFailure(read, false);
  expect(replica.reads).toBeUndefined();

  await expect.poll(() => replica.check().then(() => replica.reads), { timeout: 60_000 }).toBeDefined();
  expect(replica.logPosition).toBeLessThan(logPosition);
  expect(replica.generation).toBeGreaterThan(generation);
  expect(await countUsers(replica.reads?.database)).toBe(before);
  expect(reasons).not.toContain('several servers');
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
