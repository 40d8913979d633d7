/**
 * Runs TypeORM's command line for `npm run migration:generate`, `migration:run`, `migration:revert` and `migration:show`.
 * It uses DATABASE_URL, or else the embedded Postgres.
 *
 * A new migration is generated against a separate database that has all other migrations, so the state of your database
 * does not matter. The file is formatted and added to the list of migrations.
 */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { migrateUp } from '../dist/src/database/migrate.js';
import { startEmbeddedPostgres } from '../dist/src/embedded-postgres/cluster.js';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const listFile = path.join(root, 'src', 'database', 'migrations.ts');
const migrationsFolder = path.join(root, 'migrations');

const [command, ...args] = process.argv.slice(2);
const embedded = process.env.DATABASE_URL
  ? undefined
  : await startEmbeddedPostgres({ dataDir: process.env.DATA_DIR ?? path.join(root, '.roster'), log: console.error });
try {
  const url = embedded?.url ?? process.env.DATABASE_URL;
  process.exitCode = command === 'generate' ? await generate(url, args) : runTypeOrm(url, [`migration:${command}`]);
} catch (error) {
  console.error(`roster: ${error.message || error.code}`);
  process.exitCode = 1;
} finally {
  await embedded?.stop();
}

async function generate(serverUrl, [name]) {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name ?? '')) {
    console.error('Name the migration in lower case with hyphens: npm run migration:generate -- add-nickname');
    return 1;
  }
  const before = fs.readdirSync(migrationsFolder);
  const code = await onNewDatabase(serverUrl, (url) => runTypeOrm(url, ['migration:generate', `migrations/${name}`]));
  const file = fs.readdirSync(migrationsFolder).find((found) => !before.includes(found));
  if (file !== undefined) register(file);
  return code;
}

/** Calls `work` with the URL of a new database that has all migrations. The database is dropped afterwards. */
async function onNewDatabase(serverUrl, work) {
  const name = `roster_generate_${process.pid}`;
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  const admin = new pg.Client({ connectionString: serverUrl });
  await admin.connect();
  try {
    await admin.query(`create database ${name} template template0 encoding 'UTF8'`);
    await migrateUp({ url: url.href, connectTimeoutMs: 30_000 });
    return work(url.href);
  } finally {
    await admin.query(`drop database if exists ${name} with (force)`);
    await admin.end();
  }
}

function runTypeOrm(url, args) {
  const cli = path.join(root, 'node_modules', 'typeorm', 'cli.js');
  const dataSource = path.join('dist', 'src', 'database', 'data-source.js');
  return run([cli, ...args, '--dataSource', dataSource], { DATABASE_URL: url });
}

/** Formats the migration, and adds its class to the list. */
function register(file) {
  const migration = path.join(migrationsFolder, file);
  const [, name] = fs.readFileSync(migration, 'utf8').match(/^export class (\w+)/m);
  const list = fs.readFileSync(listFile, 'utf8');
  const importLine = `import { ${name} } from '../../migrations/${file.replace(/\.ts$/, '.js')}';\n`;
  const changed = list
    .replace(/(?<=^import .*'\.\.\/\.\.\/migrations\/.*\n)(?!import .*migrations\/)/m, importLine)
    .replace(/(?<=^export const migrations: .* = \[[^\]]*?),?\s*\];/m, `, ${name}];`);
  fs.writeFileSync(listFile, changed);
  run([path.join(root, 'node_modules', '@biomejs', 'biome', 'bin', 'biome'), 'check', '--write', migration, listFile]);
  console.error(
    `Added ${name} to src/database/migrations.ts. Review the SQL, and describe the migration in a comment.`,
  );
}

/** Runs a program of Node in the project's folder, and returns its exit code. */
function run(args, env = {}) {
  const { status } = spawnSync(process.execPath, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: 'inherit',
  });
  return status ?? 1;
}
