/**
 * Measures what users and changes cost in Postgres, and prints the tables of docs/sizing.md.
 *
 *     node dist/bench/sizing.js [users]
 *
 * It imports people of `npm run seed`, reads the sizes of tables and indexes, and then makes calls and reads how far the
 * write-ahead log (WAL) has grown. It changes settings of Postgres, so use the embedded one, or a server for nothing else.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { makePeople } from '../scripts/seed/people.js';
import { type Client, createClient } from '../src/client/index.js';
import { formatNumber, formatTable } from './report.js';
import { type BenchDatabase, openBenchDatabase, startService } from './service.js';

const users = Number(process.argv[2] ?? 1_000_000);
if (!(users >= 200_000)) {
  console.error('node dist/bench/sizing.js [users, at least 200000]');
  process.exit(2);
}

// Calls of each kind in each mode. Few compared with the users, so that nearly each one is the first on its pages.
const callsOfKind = 5_000;
const inFlight = 64;

/** How Postgres writes pages to the WAL when they change for the first time after a checkpoint. */
const modes = {
  'page seen': { full_page_writes: 'off', wal_compression: 'off' },
  'first on its pages': { full_page_writes: 'on', wal_compression: 'off' },
  'first, wal_compression=pglz': { full_page_writes: 'on', wal_compression: 'pglz' },
} as const;
type Mode = keyof typeof modes;

/** Activity of one user a day, for the projection. docs/sizing.md says how to replace it. */
const perDay = { gets: 10, lists: 0.05, updates: 0.2, creates: 0.001, deletes: 0.001 };
const peakFactor = 3;
// Medians of docs/benchmarks.md, in µs: roster-1 of "Other servers" (2026-11-27), and of Postgres those among 10 million users
// of "Growth" where they are higher.
const cpuUs = {
  gets: { roster: 62, postgres: 20 },
  lists: { roster: 347, postgres: 155 },
  updates: { roster: 97, postgres: 64 },
  creates: { roster: 85, postgres: 33 },
  deletes: { roster: 85, postgres: 46 },
};
const busyShareMax = 0.5;
const changesKeptDays = 7;
const checkpointSeconds = 300;

const { database, admin, client, cleanUp } = await open();
await using _cleanUp = cleanUp;
const walOfImport = await importPeople(client);
const sizes = await readSizes(admin);
const wal = await measureWal(database, admin, client);
const requestIdBytes = await sizeOfRow(admin, 'request_ids');
print();

async function open() {
  const stack = new AsyncDisposableStack();
  const opened = stack.use(await openBenchDatabase());
  const url = await opened.create('bench_sizing');
  const service = stack.use(await startService(url, { LIST_INDEXES: 'all', CHANGES_KEPT_MAX: '1000000000' }));
  const connection = new pg.Client({ connectionString: url });
  await connection.connect();
  stack.defer(() => connection.end());
  // Autovacuum would write to the WAL during a measurement.
  for (const table of ['users', 'changes', 'request_ids']) {
    await connection.query(`alter table ${table} set (autovacuum_enabled = off)`);
  }
  const calls = createClient({ address: service.address, deadlineMs: 0 });
  stack.defer(() => calls.close());
  return { database: opened, admin: connection, client: calls, cleanUp: stack };
}

async function walPosition(): Promise<string> {
  const { rows } = await admin.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  return rows[0]?.lsn ?? '';
}

async function walBytesSince(lsn: string): Promise<number> {
  const { rows } = await admin.query<{ bytes: number }>(
    'select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::pg_lsn)::float8 as bytes',
    [lsn],
  );
  return rows[0]?.bytes ?? Number.NaN;
}

/** Returns the WAL of each imported user, with all indexes. */
async function importPeople(importer: Client): Promise<number> {
  const start = await walPosition();
  const { created, skipped, rejected, committed } = await importer.importAllUsers(makePeople(users, 1), {
    // A few of a million people have the same email, apart from the spelling.
    keepGoing: true,
    onProgress: (rows) => {
      if (rows % 100_000 === 0) console.error(`imported ${rows} of ${users}`);
    },
  });
  console.error(`created ${created}, skipped ${skipped}, rejected ${rejected}`);
  if (!committed) throw new Error('The import has written nothing.');
  return (await walBytesSince(start)) / Number(created);
}

interface Size {
  readonly name: string;
  readonly bytes: number;
}

/** The bytes of each table and index for one of its rows. */
async function readSizes(connection: pg.Client): Promise<{ users: Size[]; changes: Size[] }> {
  const sizesOf = async (table: string): Promise<Size[]> => {
    await connection.query(`vacuum analyze ${table}`);
    const { rows } = await connection.query<Size>(
      `select relname as name, (pg_table_size(oid) / (select count(*) from ${table})::float8) as bytes from pg_class
       where oid = $1::regclass or oid in (select indexrelid from pg_index where indrelid = $1::regclass)
       order by relkind desc, relname`,
      [table],
    );
    return rows;
  };
  return { users: await sizesOf('users'), changes: await sizesOf('changes') };
}

async function sizeOfRow(connection: pg.Client, table: string): Promise<number> {
  const { rows } = await connection.query<{ bytes: number }>(
    `select pg_total_relation_size($1::regclass) / (select count(*) from ${table})::float8 as bytes`,
    [table],
  );
  return rows[0]?.bytes ?? Number.NaN;
}

/** One call on a user that is there. */
type Call = (id: string, index: number) => Promise<unknown>;

function callsOf(on: Client): Record<string, Call> {
  // Real emails and names are in no order. These begin with hexadecimal digits, so creates still share pages of the indexes
  // (docs/sizing.md).
  const newEmail = () => `${randomUUID()}@example.com`;
  const newUser = () => ({
    firstName: randomUUID().slice(0, 8),
    lastName: randomUUID().slice(0, 8),
    email: newEmail(),
    attributes: { department: 'Engineering', title: 'Engineer' },
  });
  return {
    'CreateUser with a request id': () => on.createUser({ user: newUser() }),
    'CreateUser without': () => on.createUser({ user: newUser() }, { attemptsMax: 1 }),
    'UpdateUser of an attribute': (id, index) =>
      on.updateUser({ user: { id, attributes: { title: `Engineer ${index}` } }, updateMask: ['attributes.title'] }),
    'UpdateUser of the email': (id) => on.updateUser({ user: { id, email: newEmail() }, updateMask: ['email'] }),
    DeleteUser: (id) => on.deleteUser({ id }),
  };
}

type WalBytes = Record<string, Record<Mode, number>>;

async function measureWal(on: Pick<BenchDatabase, 'url'>, connection: pg.Client, calls: Client): Promise<WalBytes> {
  const superuser = new pg.Client({ connectionString: on.url });
  await superuser.connect();
  const result: WalBytes = {};
  try {
    for (const [mode, settings] of Object.entries(modes) as [Mode, (typeof modes)[Mode]][]) {
      for (const [name, value] of Object.entries(settings)) {
        await superuser.query(`alter system set ${name} = '${value}'`);
      }
      await superuser.query('select pg_reload_conf()');
      for (const [kind, call] of Object.entries(callsOf(calls))) {
        const { rows } = await connection.query<{ id: string }>('select id from users order by random() limit $1', [
          callsOfKind,
        ]);
        // The checkpointer has read the settings when it has finished.
        await sleep(500);
        await connection.query('checkpoint');
        const start = await walPosition();
        await callAll(
          rows.map(({ id }) => id),
          call,
        );
        // Otherwise the entries of several measurements would reach the index for searches in one of them.
        await connection.query(`select gin_clean_pending_list('users_search')`);
        const bytes = (await walBytesSince(start)) / callsOfKind;
        result[kind] = { ...(result[kind] as Record<Mode, number>), [mode]: bytes };
        console.error(`${mode}: ${kind}: ${Math.round(bytes)} bytes of WAL`);
      }
    }
  } finally {
    for (const name of ['full_page_writes', 'wal_compression']) await superuser.query(`alter system reset ${name}`);
    await superuser.query('select pg_reload_conf()');
    await superuser.end();
  }
  return result;
}

async function callAll(ids: readonly string[], call: Call): Promise<void> {
  const remaining = ids.entries();
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      for (const [index, id] of remaining) await call(id, index);
    }),
  );
}

function print(): void {
  const total = (parts: readonly Size[]) => parts.reduce((sum, { bytes }) => sum + bytes, 0);
  const sizeRows = (parts: readonly Size[]) => [
    ...parts.map(({ name, bytes }) => [`\`${name}\``, formatNumber(bytes)]),
    ['together', formatNumber(total(parts))],
  ];
  const walRows = Object.entries(wal).map(([kind, bytes]) => [
    kind,
    ...Object.keys(modes).map((mode) => formatNumber(bytes[mode as Mode])),
  ]);
  const parts = [
    formatTable(['For each user', 'bytes'], 1, sizeRows(sizes.users)),
    formatTable(['For each change', 'bytes'], 1, sizeRows(sizes.changes)),
    `A request id takes ${formatNumber(requestIdBytes)} bytes. An imported user takes ${formatNumber(walOfImport)} bytes of WAL.`,
    formatTable(['WAL of one call, in bytes', ...Object.keys(modes)], 1, walRows),
    projection(total(sizes.users), total(sizes.changes)),
  ];
  console.log(parts.join('\n\n'));
}

/** The table of directories of three sizes. */
function projection(userBytes: number, changeBytes: number): string {
  const bytesOf = (name: string) => sizes.users.find((size) => size.name === name)?.bytes ?? Number.NaN;
  const gigabytes = (bytes: number) => formatNumber(bytes / 1e9, bytes < 10e9 ? 1 : 0);
  const walOf = (count: number, mode: Mode) =>
    count *
    ((wal['UpdateUser of an attribute']?.[mode] ?? 0) * perDay.updates +
      (wal['CreateUser with a request id']?.[mode] ?? 0) * perDay.creates +
      (wal.DeleteUser?.[mode] ?? 0) * perDay.deletes);
  const coresOf = (count: number, part: 'roster' | 'postgres') =>
    Object.entries(perDay).reduce(
      (sum, [call, calls]) =>
        sum + (calls * count * peakFactor * cpuUs[call as keyof typeof cpuUs][part]) / 86_400 / 1e6,
      0,
    ) / busyShareMax;
  const changesADay = perDay.updates + perDay.creates + perDay.deletes;
  const rows: readonly [string, (count: number) => string][] = [
    ['users and their indexes, GB', (count) => gigabytes(count * userBytes)],
    [
      'of these, what lookups read (table, id, email), GB',
      (count) => gigabytes(count * (bytesOf('users') + bytesOf('users_pkey') + bytesOf('users_email_key'))),
    ],
    [
      `changes in ${changesKeptDays} days, millions`,
      (count) => formatNumber((count * changesADay * changesKeptDays) / 1e6),
    ],
    ['their change log, GB', (count) => gigabytes(count * changesADay * changesKeptDays * changeBytes)],
    ['WAL a day, GB: pages seen', (count) => gigabytes(walOf(count, 'page seen'))],
    ['WAL a day, GB: each call the first on its pages', (count) => gigabytes(walOf(count, 'first on its pages'))],
    ['reads a second at the peak', (count) => perSecond(count * (perDay.gets + perDay.lists))],
    ['writes a second at the peak', (count) => perSecond(count * changesADay)],
    [
      'writes between two checkpoints at the peak, thousands',
      (count) => formatNumber((count * changesADay * peakFactor * checkpointSeconds) / 86_400 / 1e3),
    ],
    ['cores for Roster', (count) => formatNumber(coresOf(count, 'roster'), 1)],
    ['cores for Postgres', (count) => formatNumber(coresOf(count, 'postgres'), 1)],
  ];
  const counts = [10e6, 100e6, 1e9];
  return formatTable(
    ['', ...counts.map((count) => `${formatNumber(count / 1e6)} million users`)],
    1,
    rows.map(([name, cell]) => [name, ...counts.map(cell)]),
  );
}

function perSecond(callsADay: number): string {
  return formatNumber((callsADay * peakFactor) / 86_400);
}
