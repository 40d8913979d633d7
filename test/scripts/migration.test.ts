/** npm's migration scripts, in a copy of the project with one more column. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createTestDatabase } from '../support/database.js';

const repository = path.resolve(import.meta.dirname, '../..');

let root: string;
const read = (file: string) => fs.readFileSync(path.join(root, file), 'utf8');

beforeAll(() => {
  root = fs.mkdtempSync(path.join(tmpdir(), 'roster-migration-'));
  for (const name of fs.readdirSync(repository)) {
    if (/^(?:src|generated|migrations|scripts|package.*\.json|tsconfig.*\.json|biome\.json|\.gitignore)$/.test(name)) {
      fs.cpSync(path.join(repository, name), path.join(root, name), { recursive: true });
    }
  }
  fs.symlinkSync(path.join(repository, 'node_modules'), path.join(root, 'node_modules'));
  const entity = path.join(root, 'src/database/entities/request-id-row.ts');
  const column = `\n  @Column({ type: 'text', collation: 'C', default: '' })\n  note!: string;\n}\n`;
  fs.writeFileSync(entity, fs.readFileSync(entity, 'utf8').replace(/\}\n$/, column));
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

function npmRun(script: string, url: string, ...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync('npm', ['run', script, '--', ...args], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, DATABASE_URL: url },
  });
  return { status, output: stdout + stderr };
}

// They compile the project.
describe('the migration scripts', { timeout: 300_000 }, () => {
  it('generate a migration for a new column, and add it to the list', () => {
    const before = fs.readdirSync(path.join(root, 'migrations'));
    const { status, output } = npmRun('migration:generate', inject('adminUrl'), 'add-note');
    expect({ status, output }).toMatchObject({ status: 0 });
    const [file = ''] = fs.readdirSync(path.join(root, 'migrations')).filter((name) => !before.includes(name));
    expect(file).toMatch(/^\d{13}-add-note\.ts$/);
    const number = file.slice(0, 13);
    const text = read(`migrations/${file}`);
    expect(text).toContain(`export class AddNote${number} implements MigrationInterface`);
    // The indexes on expressions, which TypeORM does not know, stay.
    expect([...text.matchAll(/query\(`(.*)`\)/g)].map(([, sql]) => sql)).toEqual([
      `ALTER TABLE "request_ids" ADD "note" text COLLATE "C" NOT NULL DEFAULT ''`,
      `ALTER TABLE "request_ids" DROP COLUMN "note"`,
    ]);
    const list = read('src/database/migrations.ts');
    expect(list).toContain(`import { AddNote${number} } from '../../migrations/${number}-add-note.js';`);
    expect(list).toMatch(new RegExp(`,\\s+AddNote${number},?\\s*\\];`));
  });

  it('show, run and revert migrations', async () => {
    await using database = await createTestDatabase();
    const lines = () =>
      npmRun('migration:show', database.url)
        .output.split('\n')
        .filter((line) => /^\s*\[[ X]\]/.test(line));
    const pending = () => lines().filter((line) => line.includes('[ ]'));
    const addNote = [expect.stringMatching(/\[ \] AddNote\d+/)];
    expect(lines()[0]).toMatch(/\[X\] \d+ CreateTables\d+/);
    expect(pending()).toEqual(addNote);
    expect(npmRun('migration:run', database.url)).toMatchObject({ status: 0 });
    await database.query('select note from request_ids');
    expect(npmRun('migration:revert', database.url)).toMatchObject({ status: 0 });
    await expect(database.query('select note from request_ids')).rejects.toThrow(/note/);
    expect(pending()).toEqual(addNote);
  });

  it('find nothing to generate if the entities did not change, and refuse a name with spaces', () => {
    const { status, output } = npmRun('migration:generate', inject('adminUrl'), 'add-nothing');
    expect({ status, output }).toEqual({ status: 1, output: expect.stringContaining('No changes') });
    const refused = npmRun('migration:generate', inject('adminUrl'), 'Add Note');
    expect(refused).toEqual({ status: 1, output: expect.stringContaining('in lower case with hyphens') });
  });
});
