/**
 * `roster import` and `roster export` of generated users, beside psql's \copy of the same rows into the same table.
 *
 *     node dist/bench/bulk.js [rows] [rounds]
 *
 * Everything on this machine at once: the command line, the service, Postgres. \copy checks nothing, logs no changes and
 * merges nothing; it is what the disk and the indexes cost. It also says whether what came out is what went in, and the
 * service's peak memory, once for a tenth of the rows and once for all.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { finished } from 'node:stream/promises';
import { parse } from 'csv-parse';
import pg from 'pg';
import { openBenchDatabase, quantile, startService } from './service.js';

const rows = Number(process.argv[2] ?? 1_000_000);
const rounds = Number(process.argv[3] ?? 3);
const main = resolve(import.meta.dirname, '../src/main.js');
const psql = process.env.PSQL ?? 'psql';

const folder = await mkdtemp(join(tmpdir(), 'roster-bulk-'));
const fields = ['first_name', 'last_name', 'email', 'profile_image_url', 'attributes'];

/** As CSV for the import, and with ids as text for \copy. */
async function generate(count: number): Promise<{ csv: string; copy: string }> {
  const csv = join(folder, `${count}.csv`);
  const copy = join(folder, `${count}.copy`);
  const outputs = [createWriteStream(csv), createWriteStream(copy)] as const;
  outputs[0].write(`${fields.join(',')}\n`);
  for (let row = 0; row < count; row++) {
    const email = `user${row}@${row % 977}.example`;
    const attributes = `{"department":"d${row % 50}","level":${row % 9}}`;
    const url = row % 3 === 0 ? `https://img.example/${row}.png` : '';
    const quoted = attributes.replaceAll('"', '""');
    const isFull = [
      outputs[0].write(`Zoë ${row % 1000},"O'Neil, ${row % 333}",${email},${url},"${quoted}"\n`),
      outputs[1].write(`${randomUUID()}\tZoë ${row % 1000}\tO'Neil, ${row % 333}\t${email}\t${url}\t${attributes}\n`),
    ].includes(false);
    if (isFull) await Promise.all(outputs.map((output) => output.writableNeedDrain && once(output, 'drain')));
  }
  for (const output of outputs) output.end();
  await Promise.all(outputs.map((output) => finished(output)));
  return { csv, copy };
}

/** The same for the same users in any order. */
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

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1000;
}

async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors = (errors + chunk).slice(-2000);
  });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${errors}`);
}

const roster = (...args: string[]) => run(process.execPath, [main, ...args]);

await using database = await openBenchDatabase();
const admin = new pg.Client({ connectionString: database.url });
await admin.connect();
const hasPsql = spawnSync(psql, ['--version']).status === 0;
if (!hasPsql) console.log('There is no psql here (PSQL=path): no \\copy beside the import.');

const rates: Record<string, number[]> = { import: [], copy: [], export: [] };
try {
  for (const [index, count] of [rows / 10, ...Array<number>(rounds).fill(rows)].entries()) {
    const files = await generate(count);
    const output = join(folder, 'exported.csv');
    let memory: number;
    let seconds: { import: number; export: number };
    {
      await using service = await startService(database.url);
      await admin.query('truncate users, changes');
      await admin.query('checkpoint');
      const imported = await timed(() => roster('import', files.csv, '--address', service.address));
      await rm(output, { force: true });
      const exported = await timed(() => roster('export', output, '--address', service.address));
      seconds = { import: imported, export: exported };
      memory = await service.peakMemory();
    }
    const [given, got] = [await digest(files.csv), await digest(output)];
    const isEqual = given.count === got.count && given.sum === got.sum && given.count === count;
    let copied = Number.NaN;
    if (hasPsql) {
      await admin.query('truncate users, changes');
      await admin.query('checkpoint');
      const command = `\\copy users (id, ${fields.join(', ')}) from '${files.copy}'`;
      copied = await timed(() => run(psql, [database.url, '-q', '-c', command]));
    }
    const { size } = await stat(files.csv);
    console.log(
      `${count} users, ${(size / 1e6).toFixed(0)} MB: import ${seconds.import.toFixed(1)} s, export ${seconds.export.toFixed(1)} s, ` +
        `\\copy ${copied.toFixed(1)} s; ${isEqual ? 'equal' : 'NOT EQUAL'}; service's peak memory ${memory.toFixed(0)} MiB`,
    );
    if (index === 0) continue;
    rates.import?.push(count / seconds.import);
    rates.export?.push(count / seconds.export);
    rates.copy?.push(count / copied);
  }
  console.log('rows/s, median (least to most)');
  for (const [name, values] of Object.entries(rates)) {
    const [median, least, most] = [0.5, 0, 1].map((share) => quantile(values, share).toFixed(0));
    console.log(`${name.padEnd(8)} ${median} (${least} to ${most})`);
  }
} finally {
  await admin.end();
  await rm(folder, { recursive: true, force: true });
}
