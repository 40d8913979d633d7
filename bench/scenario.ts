/** Defines scenarios and what they share: one Postgres, directories in it, and their users. */
import pg from 'pg';
import { createPageTokens } from '../src/model/page-token.js';
import { type Target, type Times, userEmail, userId } from './load.js';
import { type BenchDatabase, type BenchService, startService } from './service.js';

export interface Scenario {
  /** The name of its file, on the command line, and of its block in docs/benchmarks.md. */
  readonly name: string;
  readonly title: string;
  /** Explains in a few sentences, above the table, what is measured and how. */
  readonly about: string;
  open(bench: Bench): Promise<OpenScenario>;
}

export interface OpenScenario extends AsyncDisposable {
  /** Each round measures each case once, in a different order. */
  readonly cases: readonly Case[];
  /** The table's columns after the labels. */
  readonly columns: readonly Column[];
  /** Runs between rounds and restores the tables. */
  settle?(): Promise<void>;
  /** Sentences and plots below the table. */
  report?(results: Results): Report;
}

export interface Case {
  /** The case's cells in the table: heading and text. Together they are its name. */
  readonly labels: Readonly<Record<string, string>>;
  measure(): Promise<Numbers>;
}

export type Numbers = Readonly<Record<string, number>>;

export interface Column {
  readonly name: string;
  readonly heading: string;
  /** Decimal places. */
  readonly digits?: number;
  /** Also shows the minimum and the maximum of all rounds. */
  readonly spread?: true;
}

export interface Report {
  readonly sentences: readonly string[];
  /** SVGs by name. */
  readonly plots?: Readonly<Record<string, string>>;
}

export interface Results {
  /** Over the rounds; NaN if nothing was measured. */
  median(labels: Case['labels'], name: string): number;
}

export const loadColumns: readonly Column[] = [
  { name: 'perSecond', heading: 'calls/s', spread: true },
  { name: 'p50Ms', heading: 'p50 ms', digits: 2 },
  { name: 'p99Ms', heading: 'p99 ms', digits: 2 },
  { name: 'serviceUs', heading: 'service µs', spread: true },
  { name: 'postgresUs', heading: 'Postgres µs', spread: true },
  { name: 'loadUs', heading: 'load µs' },
  { name: 'otherCores', heading: 'other cores', digits: 2 },
];

export interface Bench {
  readonly isQuick: boolean;
  readonly times: Times;
  readonly database: BenchDatabase;
  /** Users in a directory, unless the scenario measures its size. */
  readonly users: number;
  /** In the large directory. */
  readonly usersLarge: number;
  /** A shared directory of `users` with default settings. Scenarios that write to it must settle it afterwards. */
  shared(): Promise<Directory>;
}

/** A database and the service over it. */
export interface Directory extends Target, AsyncDisposable {
  readonly service: BenchService;
  readonly url: string;
  readonly admin: pg.Client;
  readonly pageTokens: readonly string[];
  /** Deletes the users that calls created, then runs VACUUM and CHECKPOINT. */
  settle(): Promise<void>;
}

export async function openDirectory(
  { database }: Pick<Bench, 'database'>,
  name: string,
  users: number,
  settings: Record<string, string> = {},
): Promise<Directory> {
  await using cleanUp = new AsyncDisposableStack();
  const databaseName = `bench_${name}`;
  const url = await database.create(databaseName);
  const service = cleanUp.use(await startService(url, settings));
  const admin = new pg.Client({ connectionString: url });
  await admin.connect();
  cleanUp.defer(() => admin.end());
  await fill(admin, users);
  const settle = async () => {
    await admin.query('delete from users where id > $1', [userId(users - 1)]);
    for (const command of ['vacuum analyze users', 'vacuum analyze changes', 'checkpoint']) await admin.query(command);
  };
  await settle();
  const pageTokens = await makePageTokens(admin, users);
  const owned = cleanUp.move();
  return {
    service,
    url,
    admin,
    users,
    pageTokens,
    settle,
    address: service.address,
    pid: service.pid,
    postmasterPid: database.postmasterPid,
    commits: () => database.commits(databaseName),
    truncateLog: () => service.truncateLog(),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

// A large fill runs in parts, to report progress and to keep transactions small.
const fillRows = 500_000;

/** Creates the same users in every database, with create times one second apart, up to now. */
export async function fill(admin: pg.Client, users: number): Promise<void> {
  // Autovacuum would count as the cost of calls. settle() runs VACUUM instead.
  for (const table of ['users', 'changes']) await admin.query(`alter table ${table} set (autovacuum_enabled = off)`);
  for (let from = 0; from < users; from += fillRows) {
    if (from > 0) console.error(`${from} of ${users} users`);
    await admin.query(
      `insert into users (id, first_name, last_name, email, profile_image_url, attributes, create_time, update_time)
       select (left($4, 24) || lpad(to_hex(n), 12, '0'))::uuid,
         (array['Ada', 'Grace', 'Edsger', 'Barbara', 'Donald', 'Frances', 'Alan', 'Radia'])[1 + n % 8],
         (array['Lovelace', 'Hopper', 'Dijkstra', 'Liskov', 'Knuth', 'Allen', 'Turing', 'Perlman'])[1 + n / 8 % 8],
         replace($5, '0', n::text), 'https://img.example.com/' || n || '.png',
         jsonb_build_object('department', (array['ops', 'dev', 'sales', 'legal'])[1 + n % 4], 'level', n % 10), t, t
       from generate_series($1::int, $2::int - 1) as n,
         lateral (select date_trunc('minute', now()) - ($3::int - n) * interval '1 second' as t) as times`,
      [from, Math.min(users, from + fillRows), users, userId(0), userEmail(0)],
    );
  }
}

const pageTokensCount = 2000;

/** Makes tokens of random pages itself, because getting them from the service means reading all pages. */
async function makePageTokens(admin: pg.Client, users: number): Promise<string[]> {
  const { rows: directories } = await admin.query<{ secret: Buffer }>('select secret from directory');
  const secret = directories[0]?.secret;
  if (secret === undefined) throw new Error('The directory has no secret.');
  const tokens = createPageTokens(secret);
  const ids = Array.from({ length: pageTokensCount }, () => userId(Math.floor(Math.random() * (users - 100))));
  const { rows } = await admin.query<{ id: string; create_time: Date }>(
    'select id, create_time from users where id = any ($1)',
    [ids],
  );
  const scope = { filter: '', query: '', orderBy: '' };
  return rows.map(({ id, create_time }) => tokens.seal({ keys: [create_time.getTime()], id }, scope));
}
