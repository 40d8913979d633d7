/**
 * Compares bulk loads with the same work done by psql, in interleaved rounds.
 *
 *     node dist/bench/bulk.js [rows] [rounds]
 *
 * | import | `roster import` of a CSV file: the command line, the service and Postgres share this machine |
 * | messages | ImportUsers alone, with pre-encoded messages |
 * | same work | psql: \copy into the import's staging table, then the import's own statement with its change log |
 * | \copy | psql: \copy into the users' table; checks nothing, logs no changes, merges nothing |
 * | export | `roster export` to a CSV file |
 *
 * It also checks that the export equals the input, and prints the service's peak memory, once for a tenth of the rows and
 * then for all.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, credentials } from '@grpc/grpc-js';
import { parse } from 'csv-parse';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { User } from '../generated/users/v1/user.js';
import { ImportUsersRequest, ImportUsersResponse } from '../generated/users/v1/user_service.js';
import { copyTarget, createStagedUsers, insertStagedUsers } from '../src/store/import-statements.js';
import { openBenchDatabase, quantile, startService } from './service.js';
import { readUsage } from './usage.js';

const rows = Number(process.argv[2] ?? 1_000_000);
const rounds = Number(process.argv[3] ?? 3);
const main = resolve(import.meta.dirname, '../src/main.js');
const psql = process.env.PSQL ?? 'psql';

const folder = await mkdtemp(join(tmpdir(), 'roster-bulk-'));
const fields = ['first_name', 'last_name', 'email', 'profile_image_url', 'attributes'];

interface Files {
  csv: string;
  /** ImportUsers messages, each after its length in four bytes. */
  messages: string;
  staging: string;
  copy: string;
}

// The same number as the client sends.
const messageUsers = 200;

async function generate(count: number): Promise<Files> {
  const msecs = Date.now();
  // The service also assigns ids in row order. The order determines the cost of the index.
  const idOf = (row: number) => uuidv7({ msecs, seq: row });
  const textOf = (user: User) =>
    [user.firstName, user.lastName, user.email, user.profileImageUrl, JSON.stringify(user.attributes)].join('\t');

  function* csv() {
    yield `${fields.join(',')}\n`;
    for (let row = 0; row < count; row++) {
      const { firstName, lastName, email, profileImageUrl, attributes } = userOf(row);
      const quoted = JSON.stringify(attributes).replaceAll('"', '""');
      yield `${firstName},"${lastName}",${email},${profileImageUrl},"${quoted}"\n`;
    }
  }
  function* messages() {
    for (let first = 0; first < count; first += messageUsers) {
      const users = Array.from({ length: Math.min(messageUsers, count - first) }, (_, index) => userOf(first + index));
      const totalRows = first + users.length === count ? count : undefined;
      const message = ImportUsersRequest.encode({ options: undefined, users, totalRows }).finish();
      const length = Buffer.alloc(4);
      length.writeUInt32BE(message.length);
      yield Buffer.concat([length, message]);
    }
  }
  function* staging() {
    for (let row = 0; row < count; row++) yield `${row}\t${idOf(row)}\t${textOf(userOf(row))}\n`;
  }
  function* copy() {
    for (let row = 0; row < count; row++) yield `${idOf(row)}\t${textOf(userOf(row))}\n`;
  }

  const files: Partial<Record<keyof Files, string>> = {};
  for (const [name, parts] of Object.entries({ csv, messages, staging, copy })) {
    const file = join(folder, `users.${name}`);
    files[name as keyof Files] = file;
    await pipeline(Readable.from(parts()), createWriteStream(file));
  }
  return files as Files;
}

function userOf(row: number): User {
  return {
    ...User.create(),
    firstName: `Zoë ${row % 1000}`,
    lastName: `O'Neil, ${row % 333}`,
    email: `user${row}@${row % 977}.example`,
    profileImageUrl: row % 3 === 0 ? `https://img.example/${row}.png` : '',
    attributes: { department: `d${row % 50}`, level: row % 9 },
  };
}

/** Independent of the order of users. */
async function digest(file: string): Promise<{ count: number; sum: bigint }> {
  let count = 0;
  let sum = 0n;
  for await (const row of createReadStream(file).pipe(parse({ columns: true }))) {
    const values = fields.map((field) => (field === 'attributes' ? JSON.stringify(sorted(row[field])) : row[field]));
    sum += createHash('sha256').update(JSON.stringify(values)).digest().readBigUInt64LE();
    count++;
  }
  return { count, sum };
}

function sorted(json: string): unknown {
  return Object.entries(JSON.parse(json || '{}')).sort(([a], [b]) => (a < b ? -1 : 1));
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors = (errors + chunk).slice(-2000);
  });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} exited with ${code}: ${errors}`);
}

const roster = (...args: string[]) => run(process.execPath, [main, ...args]);

/** Sends pre-encoded messages, so the client costs almost nothing. */
async function sendMessages(address: string, file: string, count: number): Promise<void> {
  using client = Object.assign(new Client(address, credentials.createInsecure()), {
    [Symbol.dispose]: () => client.close(),
  });
  const answered = Promise.withResolvers<ImportUsersResponse>();
  const call = client.makeClientStreamRequest(
    '/users.v1.UserService/ImportUsers',
    (message: Buffer) => message,
    (bytes) => ImportUsersResponse.decode(bytes),
    (error, response) => (response === undefined ? answered.reject(error) : answered.resolve(response)),
  );
  const all = await readFile(file);
  for (let start = 0; start < all.length; ) {
    const end = start + 4 + all.readUInt32BE(start);
    if (!call.write(all.subarray(start + 4, end))) await Promise.race([once(call, 'drain'), answered.promise]);
    start = end;
  }
  call.end();
  const { committed, created } = await answered.promise;
  if (!committed || created !== count) throw new Error(`${created} of ${count} were created.`);
}

/** Runs a script in psql; the first error ends it. */
async function runScript(url: string, script: string): Promise<void> {
  const file = join(folder, 'script.sql');
  await writeFile(file, script);
  await run(psql, [url, '--no-psqlrc', '--quiet', '--set=ON_ERROR_STOP=1', `--file=${file}`]);
}

const sameWork = ({ staging }: Files) => `
  ${createStagedUsers};
  \\copy ${copyTarget} from '${staging}'
  begin;
  ${insertStagedUsers};
  commit;`;

interface Measured {
  rate: number;
  /** CPU time in microseconds for each row. */
  service: number;
  postgres: number;
}

await using database = await openBenchDatabase();
const admin = new pg.Client({ connectionString: database.url });
await admin.connect();
const hasPsql = spawnSync(psql, ['--version']).status === 0;
if (!hasPsql) console.log('Cannot find psql, so there is no comparison. Set PSQL to its path.');

const measured = new Map<string, Measured[]>();
const columns = { import: 'import', messages: 'messages', same: 'same work', copy: '\\copy', export: 'export' };

/** Returns rows per second. */
async function measure(
  name: string,
  count: number,
  service: number | undefined,
  work: () => Promise<unknown>,
): Promise<number> {
  const usedMs = () => readUsage([service, database.postmasterPid]).cpuMs;
  const before = usedMs();
  const startMs = performance.now();
  await work();
  const rate = count / ((performance.now() - startMs) / 1000);
  // The CPU time of an exited backend is added to its parent only after the parent has reaped it.
  await sleep(200);
  const after = usedMs();
  const [ofService, ofPostgres] = [0, 1].map((index) => (((after[index] ?? 0) - (before[index] ?? 0)) * 1000) / count);
  if (count === rows) {
    const values = measured.get(name) ?? [];
    measured.set(name, [...values, { rate, service: ofService ?? Number.NaN, postgres: ofPostgres ?? Number.NaN }]);
  }
  return rate;
}

async function empty(): Promise<void> {
  await admin.query('truncate users, changes');
  await admin.query('checkpoint');
}

try {
  // Migrates as it starts.
  await (await startService(database.url))[Symbol.asyncDispose]();
  for (const [round, count] of [rows / 10, ...Array<number>(rounds).fill(rows)].entries()) {
    const files = await generate(count);
    const output = join(folder, 'exported.csv');
    const notes: string[] = [];
    const through = async () => {
      await using service = await startService(database.url);
      const { pid } = service;
      const imported = () => roster('import', files.csv, '--address', service.address);
      await measure(columns.import, count, pid, imported);
      await rm(output, { force: true });
      await measure(columns.export, count, pid, () => roster('export', output, '--address', service.address));
      const [given, got] = [await digest(files.csv), await digest(output)];
      notes.push(given.count === got.count && given.sum === got.sum && given.count === count ? 'equal' : 'NOT EQUAL');
      await empty();
      await measure(columns.messages, count, pid, () => sendMessages(service.address, files.messages, count));
      notes.push(`service's peak memory ${(await service.peakMemory()).toFixed(0)} MiB`);
    };
    const same = () => measure(columns.same, count, undefined, () => runScript(database.url, sameWork(files)));
    const into = `users (id, ${fields.join(', ')})`;
    const copy = () =>
      measure(columns.copy, count, undefined, () => runScript(database.url, `\\copy ${into} from '${files.copy}'`));
    const works = hasPsql ? [through, same, copy] : [through];
    // Each round starts with a different one because the machine's speed drifts.
    for (const index of works.keys()) {
      await empty();
      await works[(round + index) % works.length]?.();
    }
    console.log(`${count} users: ${notes.join(', ')}`);
  }
  console.log(`${'rows/s'.padStart(20)} ${'least to most'.padStart(18)} of same work   service  postgres, µs a row`);
  const same = measured.get(columns.same) ?? [];
  for (const [name, values] of measured) {
    const median = (of: (value: Measured, index: number) => number) => quantile(values.map(of), 0.5);
    const rates = values.map(({ rate }) => rate);
    const [least, most] = [0, 1].map((share) => quantile(rates, share).toFixed(0));
    const share = median(({ rate }, index) => rate / (same[index]?.rate ?? Number.NaN));
    const times = [median(({ service }) => service), median(({ postgres }) => postgres)];
    console.log(
      `${name.padEnd(10)} ${quantile(rates, 0.5).toFixed(0).padStart(9)} ${`${least} to ${most}`.padStart(18)} ` +
        `${`${(100 * share).toFixed(0)} %`.padStart(12)} ${times.map((time) => time.toFixed(1).padStart(9)).join(' ')}`,
    );
  }
} finally {
  await admin.end();
  await rm(folder, { recursive: true, force: true });
}
