/** The image's packages, without the files that scripts/container/prune.mjs deletes, still run all of Roster. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';

const root = path.resolve(import.meta.dirname, '../..');

interface Lock {
  readonly packages: Readonly<Record<string, { readonly dev?: boolean; readonly devOptional?: boolean }>>;
}

/** Returns the packages that `npm prune --omit=dev` keeps. */
function productionPackages(): string[] {
  const lock = JSON.parse(readFileSync(path.join(root, 'node_modules/.package-lock.json'), 'utf8')) as Lock;
  return Object.entries(lock.packages).flatMap(([name, { dev, devOptional }]) => (dev || devOptional ? [] : [name]));
}

function filesIn(folder: string, pattern: RegExp): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => pattern.test(name));
}

it('loads every module from pruned packages, and keeps the licences', { timeout: 180_000 }, () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'roster-prune-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const copied = [...productionPackages(), 'package.json', 'dist/src', 'dist/generated', 'dist/migrations'];
  for (const name of copied) cpSync(path.join(root, name), path.join(folder, name), { recursive: true });
  const licences = /\/licen[cs]e(?:\.\w+)?$/i;
  const licencesBefore = filesIn(path.join(folder, 'node_modules'), licences).length;
  // One module is TypeORM's data source, which needs a URL.
  const env = { ...process.env, DATABASE_URL: 'postgres://localhost/unused' };
  const run = (...args: string[]) => spawnSync(process.execPath, args, { cwd: folder, env, encoding: 'utf8' });

  expect(run(path.join(root, 'scripts/container/prune.mjs'), folder)).toMatchObject({ status: 0, stderr: '' });

  expect(filesIn(folder, /\.(?:ts|map)$/)).toEqual([]);
  expect(filesIn(path.join(folder, 'node_modules'), licences).length).toBeGreaterThan(licencesBefore * 0.9);
  // Programs, which would run.
  const isProgram = /^(?:main|workers\/worker)\.js$/;
  const modules = filesIn(path.join(folder, 'dist/src'), /\.js$/).filter((name) => !isProgram.test(name));
  expect(modules.length).toBeGreaterThan(100);
  const program = `for (const name of ${JSON.stringify(modules)}) await import('${folder}/dist/src/' + name); process.exit();`;
  expect(run('--input-type=module', '-e', program)).toMatchObject({ status: 0, stderr: '' });
  expect(run('dist/src/main.js', '--version').stdout).toMatch(/^\d/);
});
