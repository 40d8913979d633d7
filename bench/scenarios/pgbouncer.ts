/**
 * Compares direct connections to Postgres with PgBouncer in transaction mode, for one serving process and for ten with ten
 * times the calls. Each group of processes is started when its first case is measured, so that only its own connections are
 * counted.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { type LoadResult, numbersOf, startLoad, type Work } from '../load.js';
import { noPgBouncer, pgBouncerVersion, startPgBouncer } from '../pgbouncer.js';
import { formatNumber } from '../report.js';
import {
  type Bench,
  type Column,
  type Directory,
  loadColumns,
  type Numbers,
  type OpenScenario,
  openDirectory,
  type Results,
  type Scenario,
} from '../scenario.js';
import { type BenchService, startService } from '../service.js';
import { readUsage } from '../usage.js';

const ops = { GetUser: 'get', CreateUser: 'create', 'ListUsers(50)': 'list' } as const;
type Op = (typeof ops)[keyof typeof ops];

const processCounts = [1, 10];
const inFlight = 64;
/** default_pool_size: the connections that PgBouncer opens to Postgres at most. */
const poolSize = 12;
const preparedStatementsMax = 200;

/** A way to Postgres: the settings of Roster, and the pooler if there is one. */
interface Path {
  readonly settings: Readonly<Record<string, string>>;
  readonly hasPooler?: true;
}

/** The serving processes of one way to Postgres. */
interface Group extends AsyncDisposable {
  readonly services: readonly BenchService[];
  readonly poolerPid: number | undefined;
}

export const pgbouncer: Scenario = {
  name: 'pgbouncer',
  title: 'PgBouncer',
  about:
    `One Roster with ${inFlight} calls in flight over 4 connections, and ten with ten times as many, directly on Postgres and through one PgBouncer in ` +
    `transaction mode with default_pool_size=${poolSize}. Each call is measured on the same processes after the calls above it, and the connections are those to Postgres at the end, ` +
    'without the one that counts them. CPU is for each call; all processes and the load share the machine.',

  async open(bench) {
    if (noPgBouncer !== undefined) return nothingMeasured(`Not measured: ${noPgBouncer}.`);
    await using cleanUp = new AsyncDisposableStack();
    const directory = cleanUp.use(await openDirectory(bench, 'pgbouncer', bench.users));
    // Its connections must not be counted.
    await directory.service[Symbol.asyncDispose]();
    const version = pgBouncerVersion();
    const isPrepared = keepsPreparedStatements(version);
    const unprepared = { PREPARED_STATEMENTS: 'false' };
    const paths: Readonly<Record<string, Path>> = {
      direct: { settings: {} },
      'direct, PREPARED_STATEMENTS=false': { settings: unprepared },
      [`PgBouncer ${version}${isPrepared ? '' : ', PREPARED_STATEMENTS=false'}`]: {
        settings: isPrepared ? {} : unprepared,
        hasPooler: true,
      },
    };
    const groups = cleanUp.use(oneGroupAtATime(directory.url, paths, isPrepared));
    const labelsOf = (path: string, processes: number, call: string) => ({ path, Rosters: `${processes}`, call });
    const owned = cleanUp.move();
    return {
      cases: Object.keys(paths).flatMap((path) =>
        processCounts.flatMap((processes) =>
          Object.entries(ops).map(([call, op]) => ({
            labels: labelsOf(path, processes, call),
            measure: async () => measureGroup(await groups.start(path, processes), directory, op, bench),
          })),
        ),
      ),
      columns,
      async settle() {
        await groups.stop();
        await directory.settle();
      },
      report: (results: Results) => ({
        sentences: Object.keys(ops).map((call) => {
          const [direct = '', , pooled = ''] = Object.keys(paths);
          const numbers = (path: string, name: string) => results.median(labelsOf(path, 10, call), name);
          const ratio = numbers(pooled, 'perSecond') / numbers(direct, 'perSecond');
          const [from, to] = [direct, pooled].map((path) => formatNumber(numbers(path, 'connections')));
          return `${call} of ten Rosters: ${formatNumber(ratio, 2)} times the calls of direct connections, with ${to} connections to Postgres instead of ${from}.`;
        }),
      }),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  },
};

const columns: readonly Column[] = [
  ...loadColumns.filter(({ name }) => name !== 'loadUs' && name !== 'otherCores'),
  { name: 'poolerUs', heading: 'PgBouncer µs' },
  { name: 'connections', heading: 'Postgres connections', spread: true },
  { name: 'otherCores', heading: 'other cores', digits: 2 },
];

function nothingMeasured(reason: string): OpenScenario {
  return { cases: [], columns, report: () => ({ sentences: [reason] }), async [Symbol.asyncDispose]() {} };
}

/** Before 1.21, PgBouncer cannot move a prepared statement to another connection. */
function keepsPreparedStatements(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 1 || minor >= 21;
}

interface Groups extends AsyncDisposable {
  /** Stops the other group first. */
  start(path: string, processes: number): Promise<Group>;
  stop(): Promise<void>;
}

function oneGroupAtATime(url: string, paths: Readonly<Record<string, Path>>, isPrepared: boolean): Groups {
  let running: { readonly name: string; readonly group: Group } | undefined;

  async function stop(): Promise<void> {
    const stopped = running;
    running = undefined;
    await stopped?.group[Symbol.asyncDispose]();
  }

  return {
    async start(path, processes) {
      const name = `${path}, ${processes}`;
      if (running?.name !== name) {
        await stop();
        running = { name, group: await startGroup(url, paths[path] as Path, processes, isPrepared) };
      }
      return running.group;
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

async function startGroup(
  url: string,
  { settings, hasPooler }: Path,
  processes: number,
  isPrepared: boolean,
): Promise<Group> {
  await using cleanUp = new AsyncDisposableStack();
  const options = { mode: 'transaction' as const, connections: poolSize };
  const pooler = hasPooler
    ? cleanUp.use(await startPgBouncer(url, isPrepared ? { ...options, preparedStatementsMax } : options))
    : undefined;
  const direct: Record<string, string> = pooler === undefined ? {} : { DATABASE_DIRECT_URL: url };
  const services: BenchService[] = [];
  for (let count = 0; count < processes; count++) {
    services.push(cleanUp.use(await startService(pooler?.url ?? url, { ...settings, ...direct })));
  }
  const owned = cleanUp.move();
  return { services, poolerPid: pooler?.pid, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function measureGroup(
  { services, poolerPid }: Group,
  { admin, users, pageTokens, postmasterPid }: Directory,
  op: Op,
  { times }: Bench,
): Promise<Numbers> {
  await using cleanUp = new AsyncDisposableStack();
  const work: Omit<Work, 'address'> = { op, users, pageTokens, connections: 4, inFlight };
  const loads = await Promise.all(services.map(({ address }) => startLoad({ ...work, address })));
  for (const load of loads) cleanUp.use(load);
  await sleep(times.warmUpMs);
  const roots = [postmasterPid, poolerPid, ...services.map(({ pid }) => pid), ...loads.map(({ pid }) => pid)];
  for (const load of loads) load.measure();
  const before = readUsage(roots);
  await sleep(times.measureMs);
  const after = readUsage(roots);
  const connections = await countConnections(admin);
  const result = mergeResults(await Promise.all(loads.map((load) => load.stop())));
  await Promise.all(services.map((service) => service.truncateLog()));
  const bad = result.status.filter((status) => status !== 0);
  if (bad.length > 0) throw new Error(`${bad.length} of ${result.status.length} calls failed with status ${bad[0]}`);
  const cpuMs = after.cpuMs.map((ms, index) => ms - (before.cpuMs[index] ?? Number.NaN));
  const [postgresMs = 0, poolerMs = 0, ...rest] = cpuMs;
  const serviceMs = sum(rest.slice(0, services.length));
  const loadMs = sum(rest.slice(services.length));
  const ours = sum([postgresMs, poolerMs, serviceMs, loadMs].filter((ms) => !Number.isNaN(ms)));
  return {
    ...numbersOf(result, [serviceMs, postgresMs, loadMs]),
    poolerUs: (poolerMs * 1000) / result.status.length,
    connections,
    otherCores: Math.max(0, after.machineCpuMs - before.machineCpuMs - ours) / times.measureMs,
  };
}

function mergeResults(results: readonly LoadResult[]): LoadResult {
  return {
    endMs: results.flatMap(({ endMs }) => endMs),
    latencyMs: results.flatMap(({ latencyMs }) => latencyMs),
    status: results.flatMap(({ status }) => status),
    seconds: sum(results.map(({ seconds }) => seconds)) / results.length,
    unsent: sum(results.map(({ unsent }) => unsent)),
    lost: sum(results.map(({ lost }) => lost)),
    changes: 0,
    behind: 0,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

async function countConnections(admin: pg.Client): Promise<number> {
  const { rows } = await admin.query<{ count: number }>(
    `select count(*)::integer as count from pg_stat_activity
     where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()`,
  );
  return rows[0]?.count ?? Number.NaN;
}
