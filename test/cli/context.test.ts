/** Named connections: the commands that manage them, their file, and what overrides them. */
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { connectionConfig } from '../../src/cli/saved-contexts.js';
import { createAuthority } from '../certificates.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { type Ran, roster, start } from './command-line.js';

const secret = 'hunter2-is-secret';

let app: TestApp;
let home: string;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app[Symbol.asyncDispose]());
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'roster-home-'));
});
afterEach(() => rm(home, { recursive: true }));

const path = () => join(home, '.config', 'roster', 'contexts.json');

function call(line: string, env: Record<string, string> = {}): Promise<Ran> {
  return roster(line.split(' '), { env: { HOME: home, ...env } });
}

async function write(text: string): Promise<void> {
  await mkdir(join(home, '.config', 'roster'), { recursive: true });
  await writeFile(path(), text, { mode: 0o600 });
}

describe('roster context', () => {
  it('adds, lists, uses, shows and removes contexts', async () => {
    expect(await call('context list')).toMatchObject({ code: 0, out: '' });
    expect(await call(`context add here --address ${app.address}`)).toEqual({
      code: 0,
      out: 'Added here. To make it the default: ./roster context use here\n',
      err: '',
    });
    await call('context add prod --address roster.example:443 --tls --deadline-ms 500');
    expect(await call('context use here')).toMatchObject({ code: 0, err: '' });
    const { out } = await call('context list');
    expect(out.split('\n').map((line) => line.split(/ {2,}/))).toEqual([
      ['', 'NAME', 'ADDRESS', 'TLS', 'TOKEN'],
      ['*', 'here', app.address, 'no', 'none'],
      ['', 'prod', 'roster.example:443', 'yes', 'none'],
      [''],
    ]);
    expect((await call('context list --output id')).out).toBe('here\nprod\n');
    expect((await call('context show')).out).toContain(app.address);
    expect(JSON.parse((await call('context show prod --json')).out)).toEqual({
      name: 'prod',
      address: 'roster.example:443',
      tls: true,
      token: 'none',
      deadlineMs: '500',
    });
    expect(await call('count')).toMatchObject({ code: 0, out: '0\n' });
    expect(await call('context remove here')).toMatchObject({ code: 0 });
    expect((await call('context list --output id')).out).toBe('prod\n');
    expect(await call('context show')).toMatchObject({ code: 2 });
  });

  it('uses the folder of XDG_CONFIG_HOME, and writes the file for the user alone', async () => {
    const env = { XDG_CONFIG_HOME: join(home, 'xdg') };
    expect(await call(`context add here --address ${app.address}`, env)).toMatchObject({ code: 0 });
    expect((await stat(join(home, 'xdg', 'roster'))).mode & 0o777).toBe(0o700);
    expect((await stat(join(home, 'xdg', 'roster', 'contexts.json'))).mode & 0o777).toBe(0o600);
    // The file is complete at any time, so no temporary file remains.
    expect(await readdir(join(home, 'xdg', 'roster'))).toEqual(['contexts.json']);
  });

  it.each([
    ['context add'],
    ['context add prod'],
    ['context add -x --address a:1'],
    ['context add a/b --address a:1'],
    ['context add prod --address http://a:1'],
    ['context add prod --address a:65536'],
    ['context add prod --address a:1 --deadline-ms soon'],
    ['context add prod --address a:1 --ca missing.pem'],
    ['context add prod --address a:1 --token-file missing'],
    // A token needs TLS.
    [`context add prod --address a.example:1 --token ${secret}`],
    ['context use'],
    ['context use missing'],
    ['context use a --none'],
    ['context remove missing'],
    ['context show missing'],
    ['list --context missing'],
  ])('ends %j with 2, and changes nothing', async (line) => {
    const { code, out, err } = await call(line);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(/^error: /);
    expect(err).not.toContain(secret);
    expect(await readdir(home)).toEqual([]);
  });

  it('replaces a context only with --overwrite', async () => {
    await call('context add prod --address a:1');
    expect(await call('context add prod --address b:1')).toMatchObject({ code: 2 });
    expect(await call('context add prod --address b:1 --overwrite')).toMatchObject({ code: 0 });
    expect((await call('context show prod')).out).toContain('b:1');
  });

  it('removes the default with --none, and warns about variables that override it', async () => {
    await call('context add prod --address a:1');
    const used = await call('context use prod', { ROSTER_ADDRESS: 'b:1' });
    expect(used).toMatchObject({ code: 0, err: 'warning: ROSTER_ADDRESS is set here, and overrides this.\n' });
    expect(await call('context use --none')).toMatchObject({ code: 0 });
    expect(await call('context show')).toMatchObject({ code: 2 });
  });
});

describe('a token of a context', () => {
  const shown = ['context show prod', 'context show prod --json', 'context list', 'context list --json'];

  it('is stored from the standard input, and never printed', async () => {
    const args = 'context add prod --address localhost:1 --token-stdin'.split(' ');
    const adding = start(args, { env: { HOME: home } });
    adding.stdin.end(`${secret}\n`);
    expect(await adding.ended).toMatchObject({ code: 0, err: '' });
    expect(await readFile(path(), 'utf8')).toContain(secret);
    for (const line of shown) expect((await call(line)).out).not.toContain(secret);
    expect((await call('context show prod')).out).toContain('stored, not shown');
    expect(connectionConfig({ HOME: home }, { context: 'prod' }).token).toBe(secret);
  });

  it('of a file is read from the file each time', async () => {
    const file = join(home, 'token');
    await writeFile(file, 'first');
    expect(await call(`context add prod --address localhost:1 --token-file ${file}`)).toMatchObject({ err: '' });
    expect(await readFile(path(), 'utf8')).not.toContain('first');
    await writeFile(file, 'second\n');
    expect(connectionConfig({ HOME: home }, { context: 'prod' }).token).toBe('second');
    await rm(file);
    expect(await call('list --context prod')).toMatchObject({ code: 2 });
  });

  it('of a flag is stored with a warning', async () => {
    const ran = await call(`context add prod --address localhost:1 --token ${secret}`);
    expect(ran.code).toBe(0);
    expect(ran.err).toMatch(/^warning: .*--token-stdin/);
    expect(ran.out + ran.err).not.toContain(secret);
  });
});

describe('the connection of a command', () => {
  const config = (flags: object, env: Record<string, string> = {}) => connectionConfig({ HOME: home, ...env }, flags);

  beforeEach(async () => {
    const { cert } = createAuthority();
    await writeFile(join(home, 'ca.pem'), cert);
    await call(`context add prod --address prod:1 --ca ${join(home, 'ca.pem')} --token ${secret} --deadline-ms 5`);
    await call('context add test --address test:1');
  });

  it('is from flags, then --context, then variables, then another context, then the defaults', () => {
    const tls = { ca: join(home, 'ca.pem') };
    const fromContext = { addresses: ['prod:1'], tls, token: secret, deadlineMs: 5, context: 'prod' };
    const env = { ROSTER_TOKEN: 'variable', ROSTER_DEADLINE_MS: '6' };
    expect(config({ context: 'prod' })).toEqual(fromContext);
    expect(config({ context: 'prod' }, env)).toEqual(fromContext);
    expect(config({ context: 'prod', token: 'other', deadlineMs: '7' }, env)).toMatchObject({
      token: 'other',
      deadlineMs: 7,
    });
    expect(config({ context: 'test' }, env)).toMatchObject({ token: 'variable', deadlineMs: 6 });
    expect(config({ context: 'test' })).toMatchObject({ deadlineMs: 10_000 });
    expect(config({}, { ROSTER_CONTEXT: 'prod' })).toEqual(fromContext);
    expect(config({}, { ...env, ROSTER_CONTEXT: 'prod' })).toMatchObject({ token: 'variable', deadlineMs: 6, tls });
    expect(config({ context: 'test' }, { ROSTER_CONTEXT: 'prod' })).toMatchObject({ addresses: ['test:1'] });
  });

  it('does not mix a context with the variables that describe another server', () => {
    const env = { ROSTER_ADDRESS: 'variable:1', ROSTER_TLS: 'true', ROSTER_CA: join(home, 'ca.pem') };
    expect(config({ context: 'prod' }, env)).toMatchObject({ addresses: ['prod:1'], token: secret });
    expect(config({ context: 'test' }, env)).toMatchObject({ addresses: ['test:1'], tls: undefined });
    expect(() => config({}, { ...env, ROSTER_CONTEXT: 'prod' })).toThrow('ROSTER_CONTEXT and ROSTER_ADDRESS both');
  });

  it('does not use a context for another server, which would receive its token', async () => {
    await call('context use prod');
    expect(config({})).toMatchObject({ addresses: ['prod:1'], token: secret });
    const others = [
      config({ address: 'b:1' }),
      config({ address: 'b:1' }, { ROSTER_CONTEXT: 'prod' }),
      config({}, { ROSTER_ADDRESS: 'b:1' }),
    ];
    for (const other of others) {
      expect(other).toEqual({ addresses: ['b:1'], token: undefined, tls: undefined, deadlineMs: 10_000 });
    }
    expect(config({ context: '' })).toMatchObject({ addresses: ['localhost:50051'], token: undefined });
  });

  it('is named before a user is erased', async () => {
    await call(`context add here --address ${app.address}`);
    const { user } = await app.client.createUser({ user: { firstName: 'Ada', email: 'ada@example.com' } });
    const asked = start(['delete', user?.id ?? '', '--context', 'here'], { env: { HOME: home }, columns: 80 });
    asked.stdin.end('yes\n');
    expect((await asked.ended).err).toContain(`Erase this user from here (${app.address})?`);
  });

  it('names the context in its problems', async () => {
    await rm(join(home, 'ca.pem'));
    const { code, err } = await call('list --context prod');
    expect(code).toBe(2);
    expect(err).toMatch(/^error: In the context prod, --ca must be .*does not exist\n$/);
  });
});

describe('the file of contexts', () => {
  it('is refused if other users can read it, with the command that helps', async () => {
    await call('context add here --address localhost:1');
    await chmod(path(), 0o640);
    for (const line of ['list', 'list --context here', 'context list', 'context add x --address a:1']) {
      const { code, err } = await call(line);
      expect({ code, err }).toEqual({
        code: 2,
        err: `error: Other users of this machine can read or write ${path()}. Run: chmod 600 '${path()}'\n`,
      });
    }
  });

  it('is written without following a link that somebody has placed in its folder', async () => {
    const victim = join(home, 'victim');
    await writeFile(victim, 'unchanged');
    await write('{"contexts":{}}');
    for (const name of ['tmp', `${process.pid}.tmp`]) await symlink(victim, `${path()}.${name}`);
    expect(await call('context add here --address localhost:1')).toMatchObject({ code: 0 });
    expect(await readFile(victim, 'utf8')).toBe('unchanged');
    expect((await lstat(path())).isSymbolicLink()).toBe(false);
  });

  it('is not needed by a command that names its server', async () => {
    await write('garbage');
    expect(await call('count', { ROSTER_ADDRESS: app.address })).toMatchObject({ code: 0 });
    expect(await call(`count --address ${app.address}`)).toMatchObject({ code: 0 });
  });

  it.each([
    ['garbage', 'it is not valid JSON'],
    ['[]', 'it has no object "contexts"'],
    ['{"contexts":{"a":1}}', 'the context a is not an object'],
    ['{"contexts":{"a b":{}}}', 'the name "a b" is invalid'],
    [`{"contexts":{"a":{"adress":"${secret}"}}}`, 'the context a has an unknown member "adress"'],
    ['{"contexts":{"a":{"address":1}}}', '"address" of the context a is not a text'],
    ['{"contexts":{},"current":1}', '"current" is not a text'],
  ])('that is %s is refused, and left as it is', async (text, problem) => {
    await write(text);
    for (const line of ['list', 'context list', 'context add x --address a:1']) {
      const { code, err } = await call(line);
      expect(code).toBe(2);
      expect(err).toContain(`${path()} is not a file of contexts: ${problem}.`);
      expect(err).not.toContain(secret);
    }
    expect(await readFile(path(), 'utf8')).toBe(text);
  });

  it('does not matter without a home folder', async () => {
    expect(connectionConfig({}, {})).toMatchObject({ addresses: ['localhost:50051'] });
    expect(await roster(['context', 'list'], { env: {} })).toMatchObject({ code: 2 });
  });
});
