/** The example runner, with checks that pass, skip and fail, and a real Roster. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';

const repository = path.resolve(import.meta.dirname, '../..');

let root: string;

beforeEach(() => {
  root = fs.mkdtempSync(path.join(tmpdir(), 'roster-examples-test-'));
  onTestFinished(() => fs.rmSync(root, { recursive: true, force: true }));
  fs.mkdirSync(path.join(root, 'scripts'));
  for (const name of ['examples.mjs', 'create-key.mjs']) {
    fs.copyFileSync(path.join(repository, 'scripts', name), path.join(root, 'scripts', name));
  }
  for (const name of ['package.json', 'dist', 'node_modules']) {
    fs.symlinkSync(path.join(repository, name), path.join(root, name));
  }
  // The left-over child process keeps the output of its check open.
  add('passes', `import { spawn } from 'node:child_process'; spawn('sleep', ['600'], { stdio: 'inherit' }).unref();`);
  add('below', `// Shared by the examples below.`, 'shared.mjs');
  add('below/skips', `import '../shared.mjs'; console.log('no compiler here'); console.log(); process.exit(75);`);
  add('fails', `throw new Error('The result is wrong.');`);
});

function add(name: string, source: string, file = 'check.mjs'): void {
  const folder = path.join(root, 'examples', name);
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, file), source);
  fs.writeFileSync(
    path.join(folder, 'package.json'),
    '{ "type": "module", "dependencies": { "@roster-directory/client": "file:../client.tgz" } }',
  );
}

function run(...names: string[]) {
  const args = [path.join(root, 'scripts/examples.mjs'), ...names];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return { status, stdout, stderr, lines: stdout.trimEnd().split('\n') };
}

describe('npm run examples', () => {
  it('runs all checks, prints the outcome and the reason of each, and then the totals', () => {
    const { status, lines, stderr } = run();
    expect(lines.slice(-5)).toEqual([
      expect.stringMatching(/^below\/skips {2}skipped +\d+ s {2}no compiler here$/),
      expect.stringMatching(/^fails {8}failed +\d+ s {2}exit code 1$/),
      expect.stringMatching(/^passes {7}passed +\d+ s$/),
      '',
      '1 passed, 1 failed, 1 skipped',
    ]);
    expect(stderr).toContain('The result is wrong.');
    expect(status).toBe(1);
  });

  it('runs one example by its name, in a copy that calls Roster with the published client', () => {
    add(
      'calls',
      `import { createClient } from '@roster-directory/client';
       using client = createClient({ address: process.env.ROSTER_ADDRESS, token: process.env.ROSTER_TOKEN });
       const { user } = await client.createUser({ user: { firstName: 'Ada', email: 'ada@example.com' } });
       const ready = await fetch(process.env.ROSTER_HTTP + '/readyz');
       console.log(import.meta.dirname, process.env.ROSTER_REPO, user.firstName, ready.status);`,
    );
    const { status, lines } = run('calls');
    const [folder, ...rest] = lines.find((line) => line.endsWith('Ada 200'))?.split(' ') ?? [];
    expect(rest[0]).toBe(root);
    expect(path.basename(folder ?? '')).toBe('calls');
    expect(folder).not.toContain(root);
    expect(fs.existsSync(folder ?? '/')).toBe(false);
    expect(lines.at(-1)).toBe('1 passed, 0 failed, 0 skipped');
    expect(status).toBe(0);
  });

  it('stops a check that takes too long', () => {
    add('hangs', `console.log('waiting'); setInterval(() => {}, 1000);`);
    const { status, lines } = run('hangs', '--minutes-max', '0.02');
    expect(lines.at(-3)).toMatch(/^hangs {2}failed +\d+ s {2}did not finish within 0\.02 minutes$/);
    expect(status).toBe(1);
  });

  it('lists the examples if a name is unknown', () => {
    expect(run('elsewhere')).toMatchObject({
      status: 1,
      stderr: 'Unknown example elsewhere. The examples are: below/skips, fails, passes\n',
    });
  });
});
