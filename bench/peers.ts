/**
 * Compares Roster with other servers of the same contract, on the same Postgres and with the same load, and writes the
 * table in docs/benchmarks.md.
 *
 *     npm run bench:peers -- [--peers go,nest,tonic,grpcjs] [--ops get,create] [--rounds 5] [--seconds 4] [--users 100000]
 *                            [--from ../shared/peers] [--scratch folder] [--quick]
 *
 * The peers and the two tools that measure them are not part of this repository: they are next to the clone on development
 * machines. This program copies them into a scratch folder, and reuses the builds in that folder next time.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { packageRoot } from '../src/config/package-root.js';
import { parseServerConfig } from '../src/config/parse.js';
import { conditionsLine, formatNumber, formatTable, formatValues, median, writeBlock } from './report.js';
import { openBenchDatabase, serveFlags } from './service.js';

const toolsOf: Record<string, readonly string[]> = {
  go: [],
  nest: [],
  grpcjs: [],
  connect: [],
  tonic: ['cargo'],
  django: ['python3'],
};

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: 'go,nest,tonic,grpcjs' },
    ops: { type: 'string', default: 'get,get-by-email,create,update,list,batch-get,import,export' },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    users: { type: 'string' },
    from: { type: 'string', default: join(packageRoot(), '../shared/peers') },
    scratch: { type: 'string', default: join(tmpdir(), 'roster-peers') },
    quick: { type: 'boolean', default: false },
  },
});
const peers = values.peers.split(',');
const ops = values.ops.split(',');
const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
const seconds = Number(values.seconds ?? (values.quick ? 1 : 4));
const users = Number(values.users ?? (values.quick ? 20_000 : 100_000));

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}

const source = resolve(values.from);
const folder = join(resolve(values.scratch), 'peers');
if (!existsSync(join(folder, 'Makefile'))) {
  const contract = join(dirname(source), 'contract');
  for (const part of [source, contract]) {
    if (!existsSync(part))
      fail(`Cannot find ${part}. The peers exist only on development machines; pass their folder with --from.`);
  }
  mkdirSync(folder, { recursive: true });
  cpSync(source, folder, { recursive: true });
  cpSync(contract, join(folder, '../contract'), { recursive: true });
}

const missing = [
  'make',
  'go',
  'npm',
  ...peers.flatMap((peer) => toolsOf[peer] ?? fail(`Unknown peer ${peer}.`)),
].filter((tool) => spawnSync('which', [tool]).status !== 0);
if (missing.length > 0) fail(`Building and measuring ${values.peers} needs ${missing.join(', ')}. Install them first.`);

// These variables of the surrounding npm would send the peers' npm to the wrong folder.
const env = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^npm_(package|lifecycle|config_(local_|global_)?prefix)/i.test(name),
  ),
);

async function run(command: string, args: readonly string[], more: Record<string, string> = {}): Promise<void> {
  const child = spawn(command, args, { cwd: folder, env: { ...env, ...more }, stdio: ['ignore', 2, 2] });
  const interrupt = () => child.kill('SIGINT');
  process.on('SIGINT', interrupt);
  const [code] = await once(child, 'exit');
  process.off('SIGINT', interrupt);
  if (code !== 0) throw new Error(`${command} exited with ${code}.`);
}

function hasWorkers(count: number): boolean {
  try {
    return parseServerConfig({ WORKERS: String(count) }).workers === count;
  } catch {
    return false;
  }
}

const subjects = [1, 2].filter(hasWorkers).map((workers) => {
  const root = `'${packageRoot().replaceAll("'", `'\\''`)}'`;
  const settings = `WORKERS=${workers} GRPC_ADDRESS=localhost:$PORT HTTP_ADDRESS=localhost:0`;
  return {
    workers,
    name: `roster-${workers}`,
    command: `roster-${workers}: cd ${root} && ${settings} exec '${process.execPath}' ${serveFlags.join(' ')} dist/src/main.js serve`,
  };
});

await run('make', ['tools', ...peers]);
const results = join(folder, 'roster.jsonl');
let postgresVersion: string;
{
  await using database = await openBenchDatabase();
  postgresVersion = database.version;
  await run(
    'bin/compare',
    [
      ...['-peers', values.peers, '-ops', values.ops, '-rounds', String(rounds), '-d', `${seconds}s`],
      ...['-discard', values.quick ? '0' : '1', '-users', String(users), '-conns', '4', '-out', results],
      ...subjects.flatMap(({ command }) => ['-subject', command]),
    ],
    { DATABASE_URL: database.url },
  );
}

/** A line of the load tool; CPU in microseconds for each call or row. */
interface Line {
  name: string;
  op: string;
  unit: string;
  unsupported?: boolean;
  per_second: number;
  p50_ms: number;
  p99_ms: number;
  server_cpu_us: number;
  postgres_cpu_us: number;
  server_peak_rss_mb: number;
  other_cpu_cores: number;
  errors: number;
}

const lines = readFileSync(results, 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line): Line => JSON.parse(line));
const linesOf = (op: string, name: string) =>
  lines.filter((line) => line.op === op && line.name === name && !line.unsupported);
const perSecond = (line: Line) => line.per_second;
const postgresUs = (line: Line) => line.postgres_cpu_us;
const cpuUs = (line: Line) => line.server_cpu_us + line.postgres_cpu_us;
const of = (op: string, name: string, read: (line: Line) => number) => median(linesOf(op, name).map(read));
const servers = [...peers, ...subjects.map(({ name }) => name)];

function tableOf(op: string): string {
  const unit = lines.find((line) => line.op === op)?.unit === 'row' ? 'row' : 'call';
  const headings = [
    op,
    `${unit}s/s`,
    'to Go',
    'p50 ms',
    'p99 ms',
    'server µs',
    'Postgres µs',
    'both µs',
    'to Go',
    'peak MB',
    'other cores',
    'errors',
  ];
  const rows = servers
    .filter((name) => linesOf(op, name).length > 0)
    .map((name) => {
      const measured = linesOf(op, name);
      const show = (read: (line: Line) => number, digits = 0, spread?: true) =>
        formatValues(measured.map(read), { digits, spread });
      const toGo = (read: (line: Line) => number) => formatNumber(of(op, name, read) / of(op, 'go', read), 2);
      const digits = unit === 'row' ? 1 : 0;
      return [
        name,
        show(perSecond, 0, true),
        toGo(perSecond),
        show((line) => line.p50_ms, 1),
        show((line) => line.p99_ms, 1),
        show((line) => line.server_cpu_us, digits),
        show(postgresUs, digits),
        show(cpuUs, digits, true),
        toGo(cpuUs),
        show((line) => line.server_peak_rss_mb),
        show((line) => line.other_cpu_cores, 2),
        String(measured.reduce((sum, line) => sum + line.errors, 0)),
      ];
    });
  return formatTable(headings, 1, rows);
}

/** The ratios to the peers, for each work and each number of workers. A cell is empty if the peer was not measured. */
function summaryTable(): string {
  const ratio = (op: string, name: string, peer: string, read: (line: Line) => number) => {
    const value = of(op, name, read) / of(op, peer, read);
    return Number.isFinite(value) ? formatNumber(value, 2) : '';
  };
  const headings = [
    'work',
    'workers',
    "throughput to Go's",
    "CPU to Go's",
    "Postgres' CPU to Go's",
    "CPU to tonic's",
    "throughput to NestJS'",
  ];
  const rows = ops.flatMap((op) =>
    subjects.map(({ name, workers }) => [
      op,
      String(workers),
      ratio(op, name, 'go', perSecond),
      ratio(op, name, 'go', cpuUs),
      ratio(op, name, 'go', postgresUs),
      ratio(op, name, 'tonic', cpuUs),
      ratio(op, name, 'nest', perSecond),
    ]),
  );
  return formatTable(headings, 1, rows);
}

const conditions = conditionsLine({ postgresVersion, rounds, measureMs: seconds * 1000, isQuick: values.quick });
writeBlock('summary', [conditions, summaryTable()].join('\n\n'));
const goVersion = spawnSync('go', ['env', 'GOVERSION'], { cwd: folder, encoding: 'utf8' }).stdout.trim();
writeBlock(
  'peers',
  [
    '## Other servers',
    `Servers of the same contract in other stacks, and Roster (roster-2 has two workers). Each has at most 10 connections to one Postgres and ${formatNumber(users)} ` +
      'users; all run at once. 64 calls in flight over 4 connections (one import or export at a time). Each round measures a call on one server after the other. CPU ' +
      'is for each call or row. The peers do less for each call: no error details, request ids, filters, change log or log line.',
    conditions,
    `The Go peer was built by ${goVersion}.`,
    ...ops.map(tableOf),
  ].join('\n\n'),
);
