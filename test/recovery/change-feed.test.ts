/**
 * Tests the change feed from end to end: writers in two service processes, killed processes, cut connections, and
 * watchers that start, stop and resume. In the end every watcher must have received what the change log contains. Takes
 * 12 s, or FEED_SECONDS, and with that prints its counts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type Client, createClient, RosterError } from '../../src/client/index.js';
import { etagOf } from '../../src/model/user.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import {
  byUser,
  type FaultKind,
  faultsInLog,
  faultsOf,
  type LivingUser,
  type Logged,
  loggedTypes,
  type Recording,
  type Seen,
} from '../support/feed-checker.js';
import { mutantReaders, startWatcher, type Watcher } from '../support/feed-watchers.js';
import { someFields } from '../support/open-database.js';
import { type Served, serve } from '../support/served.js';

const seconds = Number(process.env.FEED_SECONDS || 12);
const waitOptions = { timeout: 120_000, interval: 200 };

const writersCount = 8;
// Few users, so that writers conflict.
const usersAtStart = 20;
const usersMax = 120;
const bulkUsers = 2_500;

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

const chance = (share: number) => Math.random() < share;
const between = (min: number, max: number) => min + Math.random() * (max - min);
const pick = <T>(items: readonly T[]): T | undefined => items[Math.floor(Math.random() * items.length)];

/** A service process that restarts on its port. */
interface Service {
  readonly address: string;
  /** Log lines that indicate bugs, and unexpected exits. */
  readonly bugs: readonly string[];
  killAndRestart(): Promise<void>;
}

async function startService(): Promise<Service> {
  const bugs: string[] = [];
  // Below the ports that the system assigns to connections, which could use the port while the process is down.
  const port = Math.floor(between(20_000, 30_000));
  let isKilled = false;
  let served = await start();
  onTestFinished(kill);

  async function kill(): Promise<void> {
    isKilled = true;
    await served.end('SIGKILL');
  }

  async function start(): Promise<Served> {
    for (let attempts = 1; ; attempts++) {
      try {
        const started = await serve({ DATABASE_URL: database.url, GRPC_ADDRESS: `localhost:${port}` });
        started.process.stdout?.on('data', (text: Buffer) => {
          if (text.includes('failed with a bug')) bugs.push(text.toString());
        });
        isKilled = false;
        started.process.once('exit', (code) => {
          if (!isKilled) bugs.push(`The process exited unexpectedly, with ${code}.`);
        });
        return started;
      } catch (error) {
        // Its connection to the database may have been cut.
        if (attempts === 20) throw error;
      }
    }
  }

  return {
    address: served.address,
    bugs,
    async killAndRestart() {
      await kill();
      served = await start();
    },
  };
}

/** The state that the writers know. Other writers may have deleted the users meanwhile. */
interface Known {
  readonly id: string;
  readonly etag: string;
}

/** The codes with which calls may fail while processes are killed, connections are cut and users are deleted. */
const expectedCodes = new Set([
  'UNAVAILABLE',
  'CANCELLED',
  'DEADLINE_EXCEEDED',
  'ABORTED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
]);

interface Run {
  readonly known: Known[];
  readonly counts: Map<string, number>;
  readonly over: AbortSignal;
}

function count({ counts }: Run, what: string, by = 1): void {
  counts.set(what, (counts.get(what) ?? 0) + by);
}

/** Repeats until the run ends, with a pause before each step. */
async function repeatedly({ over }: Run, pauseMsMax: number, step: () => Promise<void>): Promise<void> {
  while (true) {
    await sleep(Math.random() * pauseMsMax, undefined, { signal: over }).catch(() => {});
    if (over.aborted) return;
    await step();
  }
}

function forget(run: Run, { id }: Known): void {
  const index = run.known.findIndex((other) => other.id === id);
  if (index !== -1) run.known.splice(index, 1);
}

async function create(run: Run, client: Client): Promise<void> {
  const { user } = await client.createUser({ user: someFields() });
  if (user !== undefined) run.known.push(user);
  count(run, 'created');
}

async function batchCreate(run: Run, client: Client): Promise<void> {
  const { users } = await client.batchCreateUsers({
    users: Array.from({ length: Math.ceil(between(0, 5)) }, () => someFields()),
  });
  run.known.push(...users);
  count(run, 'created by batches', users.length);
}

async function update(run: Run, client: Client): Promise<void> {
  const known = pick(run.known);
  if (known === undefined) return;
  const etag = chance(0.4) ? known.etag : '';
  // Few names, so that some updates change nothing.
  const user = { id: known.id, etag, firstName: `Ada ${Math.floor(between(0, 10))}` };
  const updated = await client.updateUser({ user, updateMask: ['first_name'] });
  const index = run.known.findIndex(({ id }) => id === known.id);
  if (index !== -1 && updated.user !== undefined) run.known[index] = updated.user;
  count(run, 'updated');
}

async function remove(run: Run, client: Client): Promise<void> {
  const known = pick(run.known);
  if (known === undefined) return;
  await client.deleteUser({ id: known.id, etag: chance(0.4) ? known.etag : '', allowMissing: chance(0.5) });
  forget(run, known);
  count(run, 'deleted');
}

/** The same users each time: the first import creates them, and the others update them. */
async function importBulk(run: Run, client: Client): Promise<void> {
  const firstName = `Bulk ${Math.random()}`;
  const users = Array.from({ length: bulkUsers }, (_, index) => ({
    firstName,
    email: `bulk.${index}@example.com`,
    attributes: { text: 'x'.repeat(300) },
  }));
  const { created, updated } = await client.importAllUsers(users, { onConflict: 'update' });
  count(run, 'imported', created + updated);
}

/** A few of the users, some of them twice. */
async function importFew(run: Run, client: Client): Promise<void> {
  const users = Array.from({ length: 20 }, () => ({
    firstName: `Few ${Math.random()}`,
    email: `bulk.${Math.floor(between(0, 15))}@example.com`,
  }));
  const { created, updated } = await client.importAllUsers(users, { onConflict: 'update' });
  count(run, 'imported', created + updated);
}

async function write(run: Run, client: Client, unexpected: unknown[]): Promise<void> {
  const actions: [number, typeof create][] = [
    [0.45, update],
    [run.known.length > usersMax ? 0 : 0.25, create],
    [run.known.length > usersMax ? 0 : 0.08, batchCreate],
    [0.18, remove],
    [0.02, importFew],
  ];
  let point = Math.random() * actions.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, action] of actions) {
    point -= weight;
    if (point >= 0) continue;
    await tolerantly(run, () => action(run, client), unexpected);
    return;
  }
}

async function tolerantly(run: Run, work: () => Promise<void>, unexpected: unknown[]): Promise<void> {
  try {
    await work();
  } catch (error) {
    const isExpected = error instanceof RosterError && (expectedCodes.has(error.code) || error.reason === undefined);
    if (isExpected) count(run, `failed with ${error.code}`);
    else unexpected.push(error);
  }
}

const updateByHand = `
  update users set first_name = 'By hand ' || version, version = version + 1,
    update_time = greatest(now()::timestamptz(3), update_time + interval '1 millisecond')
  where id = $1 returning id, update_time`;
const logged = (write: string, type: number, time: string) =>
  `with written as (${write}) insert into changes (user_id, type, change_time) select id, ${type}, ${time} from written`;

async function openClient(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  return client;
}

/** A transaction that acquires its xid early and writes late, or not at all. */
async function writeLate(run: Run, client: pg.Client): Promise<void> {
  await client.query('begin');
  await client.query('select pg_current_xact_id()');
  await sleep(between(0, 400));
  const user = pick(run.known);
  if (user !== undefined) {
    const isUpdate = chance(0.8);
    // In two statements, which is discouraged, but the row's lock makes it correct.
    const { rows } = await client.query(isUpdate ? updateByHand : 'delete from users where id = $1 returning id', [
      user.id,
    ]);
    if (chance(0.5)) await sleep(between(0, 150));
    for (const { id, update_time: time } of rows) {
      await client.query(
        `insert into changes (user_id, type, change_time) values ($1, $2, coalesce($3::timestamptz, now()))`,
        [id, isUpdate ? 3 : 4, time],
      );
    }
    if (chance(0.5)) await sleep(between(0, 150));
  }
  const keep = chance(0.7);
  await client.query(keep ? 'commit' : 'rollback');
  count(run, keep ? 'late transactions' : 'late transactions rolled back');
}

/** Sequences that the two incorrect cursors miss, if no older transaction is open anywhere on the server. */
async function trapMutants(
  [first, second]: readonly [pg.Client, pg.Client],
  [ada, bob]: readonly [string, string],
  look: () => Promise<void>,
): Promise<void> {
  const update = logged(updateByHand, 3, 'update_time');
  for (const client of [first, second]) {
    await client.query('begin');
    await client.query('select pg_current_xact_id()');
  }
  await database.query(update, [ada]);
  await first.query(update, [ada]);
  await first.query('commit');
  // Sees the later update, which has the lower xid, but not the earlier one.
  await look();
  await second.query(update, [bob]);
  await database.query(update, [ada]);
  // Sees a higher seq than the one that is about to be committed.
  await look();
  await second.query('commit');
  await look();
}

async function cutConnections(run: Run): Promise<void> {
  const rows = await database.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and application_name = 'roster' and random() < 0.3`,
  );
  count(run, 'connections cut', rows.length);
}

async function readLog(): Promise<Map<string, Logged[]>> {
  const rows = await database.query<{ xid: string; user_id: string; type: number; change_time: Date }>(
    'select xid::text, user_id, type, change_time from changes order by seq',
  );
  return byUser(
    rows.map(({ xid, user_id: userId, type, change_time: time }) => ({
      xid: BigInt(xid),
      userId,
      type: loggedTypes[type] ?? 'existing',
      timeMs: time.getTime(),
    })),
  );
}

async function readUsers(): Promise<LivingUser[]> {
  const rows = await database.query<{ id: string; version: number; update_time: Date }>(
    'select id, version, update_time from users',
  );
  return rows.map(({ id, version, update_time: time }) => ({ id, version, updateTimeMs: time.getTime() }));
}

const kindsOf = (recording: Recording, log: Map<string, Logged[]>): FaultKind[] => [
  ...new Set(faultsOf(recording, log).map(({ kind }) => kind)),
];

/** The recordings that each kind of broken watcher would have made instead. */
const breaks: Partial<Record<FaultKind, (messages: Recording['messages']) => Recording['messages']>> = {
  missing: (messages) => messages.toSpliced(Math.floor(between(0, messages.length)), 1),
  twice: (messages) => [...messages, ...messages.slice(-1)],
  'out of order': (messages) => {
    const [changes, [first, second]] = [messages.flat(), twoOfOneUser(messages.flat())];
    return [changes.with(changes.indexOf(first), second).with(changes.indexOf(second), first)];
  },
  'user went back': (messages) => {
    const [changes, [first]] = [messages.flat(), twoOfOneUser(messages.flat())];
    return [changes.with(changes.indexOf(first), { ...first, version: 0 })];
  },
};

/** Two changes of one user that still existed at the second one. */
function twoOfOneUser(changes: readonly Seen[]): [Seen, Seen] {
  for (const [first, second] of byUser(changes).values()) {
    if (first !== undefined && second !== undefined && second.version !== 0) return [first, second];
  }
  throw new Error('There are too few changes to break.');
}

describe('the change feed of two processes that are killed, and whose connections are cut', () => {
  it('gives every watcher each change once and in order, and makes every copy equal to the directory', {
    timeout: (seconds + 300) * 1000,
  }, async () => {
    const services = [await startService(), await startService()] as const;
    const addresses = services.map(({ address }) => address);
    const clientOf = (...where: string[]) => {
      const client = createClient({ address: where });
      onTestFinished(() => client.close());
      return client;
    };
    const [left = '', right = ''] = addresses;

    const ending = new AbortController();
    const run: Run = { known: [], counts: new Map(), over: ending.signal };
    const unexpected: unknown[] = [];
    const seeder = clientOf(...addresses);
    for (let index = 0; index < usersAtStart; index++) await create(run, seeder);
    const trapped: string[] = [];
    for (let index = 0; index < 2; index++) {
      const { user } = await seeder.createUser({ user: someFields() });
      trapped.push(user?.id ?? '');
    }
    const [ada = '', bob = ''] = trapped;

    const watchers: Watcher[] = [];
    const watch = (options: Parameters<typeof startWatcher>[0]) => {
      const watcher = startWatcher(options);
      watchers.push(watcher);
      return watcher;
    };
    onTestFinished(async () => void (await Promise.allSettled(watchers.map((watcher) => watcher.stop()))));
    watch({ name: 'copy', client: clientOf(left), start: 'existing', heartbeatMs: 100 });
    watch({ name: 'plain', client: clientOf(right), start: 'now' });
    watch({ name: 'plain, both processes', client: clientOf(left, right), start: 'now', heartbeatMs: 1000 });
    watch({ name: 'cut', client: clientOf(left, right), start: 'now', cutAfterMsMax: 2000 });
    watch({ name: 'slow', client: clientOf(left), start: 'now', dozesMsMax: 3000 });
    await Promise.all(watchers.map(({ begun }) => begun));
    const mutants = mutantReaders(database);
    const look = async () => {
      for (const mutant of mutants) await mutant.look();
    };

    const late = await openClient();
    const trapClients = [await openClient(), await openClient()] as const;
    for (const client of [late, ...trapClients]) onTestFinished(() => client.end());
    const trap = () => trapMutants(trapClients, [ada, bob], look);
    // Half of them know only one process.
    const clients = [left, right, left, right].flatMap((address) => [clientOf(address), clientOf(left, right)]);
    expect(clients).toHaveLength(writersCount);
    const everything = Promise.all([
      ...clients.map((client) => repeatedly(run, 100, () => write(run, client, unexpected))),
      repeatedly(run, 1000, () => writeLate(run, late)),
      repeatedly(run, 8000, () => tolerantly(run, () => importBulk(run, seeder), unexpected)),
      repeatedly(run, 2000, async () => {
        await trap();
        count(run, 'traps for mutants');
      }),
      repeatedly(run, 4000, () => cutConnections(run)),
      // One after the other, and sometimes both at once.
      ...services.map((service) =>
        repeatedly(run, 12_000, async () => {
          await service.killAndRestart();
          count(run, 'processes killed');
        }),
      ),
    ]);
    everything.catch(() => {});
    onTestFinished(async () => {
      ending.abort();
      await everything.catch(() => {});
    });
    const joiners = [
      { name: 'joined', client: clientOf(right), start: 'existing' },
      { name: 'after an export', client: clientOf(left, right), start: 'exported' },
      { name: 'joined, cut', client: clientOf(left, right), start: 'existing', cutAfterMsMax: 1500 },
    ] as const;
    for (const joiner of joiners) {
      await sleep((seconds * 1000) / (joiners.length + 1));
      watch(joiner);
    }
    await sleep((seconds * 1000) / (joiners.length + 1));
    ending.abort();
    await everything;

    // Transactions that a killed process or a cut call left in Postgres.
    const writing = () =>
      database.query('select from pg_stat_activity where datname = current_database() and backend_xid is not null');
    await expect.poll(writing, waitOptions).toEqual([]);
    const { user: end } = await seeder.createUser({ user: someFields() }, { attemptsMax: 20, deadlineMs: 60_000 });
    const behind = () =>
      watchers.filter((watcher) => !watcher.hasSeen(end?.id ?? '')).map(({ recording }) => recording.name);
    await expect.poll(behind, waitOptions).toEqual([]);
    await Promise.all(watchers.map((watcher) => watcher.stop()));

    let log = await readLog();
    const users = await readUsers();
    if (process.env.FEED_SECONDS) {
      console.log(Object.fromEntries([...run.counts].sort()));
      console.log(`${[...log.values()].flat().length} changes of ${log.size} users in the log`);
      console.table(
        watchers.map(({ recording: { name }, changesSeen, cuts, disconnects, startsOver }) => ({
          name,
          changesSeen,
          cuts,
          disconnects,
          startsOver,
        })),
      );
    }
    expect(unexpected).toEqual([]);
    expect(services.flatMap(({ bugs }) => bugs)).toEqual([]);
    expect(faultsInLog(log, users)).toEqual([]);
    const truth = users
      .map(({ id, version, updateTimeMs }) => [id, etagOf({ version, updateTime: new Date(updateTimeMs) })])
      .sort();
    for (const { recording, copy, isFull } of watchers) {
      expect.soft(faultsOf(recording, log).slice(0, 3), recording.name).toEqual([]);
      if (!isFull) continue;
      const copied = [...copy.values()].map(({ id, etag }) => [id, etag]).sort();
      expect.soft(copied, recording.name).toEqual(truth);
    }

    // Shows that the checker can fail.
    const { recording } = watchers.find(({ recording }) => recording.name === 'plain') as Watcher;
    for (const [kind, broken] of Object.entries(breaks)) {
      expect(kindsOf({ ...recording, messages: broken(recording.messages) }, log)).toContain(kind);
    }
    // An older transaction in another database would hide the trap from the cursors by xid.
    await expect
      .poll(async () => {
        await trap();
        log = await readLog();
        return mutants.map(({ recording }) => kindsOf(recording, log));
      }, waitOptions)
      .toEqual([
        expect.arrayContaining(['missing']),
        expect.arrayContaining(['out of order']),
        expect.arrayContaining(['out of order']),
      ]);
  });
});
