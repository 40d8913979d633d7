/** Checks that the example's sources compile and that its generated file is current. check.mjs does not test these. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { compilerOptions } from '../support/outside.js';

const root = path.resolve(import.meta.dirname, '../..');
const example = path.join(root, 'examples/route-guide');
const programs = path.join(root, 'node_modules/.bin');

function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'roster-route-guide-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function run(program: string, ...args: string[]): string {
  const env = { ...process.env, PATH: `${programs}${path.delimiter}${process.env.PATH}` };
  const { stdout, stderr } = spawnSync(path.join(programs, program), args, { cwd: example, env, encoding: 'utf8' });
  return stdout + stderr;
}

describe('examples/route-guide', () => {
  it('compiles', () => {
    const config = path.join(temporaryFolder(), 'tsconfig.json');
    const options = { ...compilerOptions, noUncheckedIndexedAccess: true };
    writeFileSync(config, JSON.stringify({ compilerOptions: options, include: [`${example}/*.ts`] }));
    expect(run('tsc', '-p', config)).toBe('');
  });

  it('has the code that its .proto generates', () => {
    const temporary = temporaryFolder();
    expect(run('buf', 'generate', 'proto', '--output', temporary)).toBe('');
    const made = (folder: string) => readFileSync(path.join(folder, 'generated/route_guide.ts'), 'utf8');
    expect(made(example)).toBe(made(temporary));
  });
});
