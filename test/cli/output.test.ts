/** The formats of --output, and when the output has colors. */
import { stripVTControlCharacters } from 'node:util';
import { parse as parseCsv } from 'csv-parse/sync';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse as parseYaml } from 'yaml';
import { usesColors } from '../../src/cli/style.js';
import { createTable } from '../../src/cli/text.js';
import type { User } from '../../src/client/index.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { type Ran, roster, type World } from './command-line.js';

let app: TestApp;
const users: User[] = [];
beforeAll(async () => {
  app = await startTestApp();
  for (const lastName of ['Lovelace', 'yes', '\u{1f600}\u{1f600} "x": #1']) {
    const attributes = { lastName, floor: 3, tags: ['a\nb', '\u001b[31m', '\u202e', '2026-01-01'], no: null };
    const { user } = await app.client.createUser({
      user: { firstName: 'Ada', lastName, email: `ada${users.length}@example.com`, attributes },
    });
    if (user !== undefined) users.push(user);
  }
});
afterAll(() => app[Symbol.asyncDispose]());

function call(args: readonly string[], world: World = {}): Promise<Ran> {
  return roster(args, { ...world, env: { ROSTER_ADDRESS: app.address, ...world.env } });
}

const asJson = (value: unknown) => JSON.parse(JSON.stringify(value));

describe('--output', () => {
  it.each([['--output', 'json'], ['-o', 'json'], ['--output=json'], ['-ojson']])(
    '%s %s is --json',
    async (...flags) => {
      for (const args of [
        ['get', users[0]?.id ?? ''],
        ['list', '--limit', '2'],
      ]) {
        expect(await call([...args, ...flags])).toEqual(await call([...args, '--json']));
      }
      const failed = await call(['get', 'nobody@example.com', ...flags]);
      expect(JSON.parse(failed.err)).toMatchObject({ error: { exitCode: 3 } });
    },
  );

  it('yaml is the JSON of the users as YAML, safe for a terminal and for readers of YAML 1.1', async () => {
    const { out } = await call(['get', users[1]?.id ?? '', '--output', 'yaml']);
    expect(parseYaml(out)).toEqual(asJson(users[1]));
    expect(parseYaml(out, { version: '1.1' })).toEqual(asJson(users[1]));
    expect(out).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
    const listed = await call(['list', '--limit', '0', '--page-size', '1', '--output', 'yaml']);
    expect(parseYaml(listed.out)).toEqual(asJson(users));
    expect((await call(['list', '--query', 'nobody', '--output', 'yaml'])).out).toBe('[]\n');
  });

  it('csv is what an export writes', async () => {
    const exported = await call(['export', '--format', 'csv']);
    expect((await call(['list', '--limit', '0', '--page-size', '1', '--output', 'csv'])).out).toBe(exported.out);
    const [header = '', ...others] = exported.out.split('\n');
    expect((await call(['list', '--query', 'nobody', '--output', 'csv'])).out).toBe(`${header}\n`);
    const { out } = await call(['get', users[0]?.id ?? '', '--output', 'csv']);
    expect(out).toBe(`${header}\n${others[0]}\n`);
    expect(parseCsv(out, { columns: true })).toMatchObject([{ id: users[0]?.id, last_name: 'Lovelace' }]);
  });

  it('id is one id on each line, for every command that shows users', async () => {
    const { id = '', email = '' } = users[0] ?? {};
    expect((await call(['list', '--limit', '0', '-o', 'id'])).out).toBe(users.map((user) => `${user.id}\n`).join(''));
    expect((await call(['get', email, '-o', 'id'])).out).toBe(`${id}\n`);
    expect((await call(['update', email, '--attribute', 'x=1', '-o', 'id'])).out).toBe(`${id}\n`);
    const created = await call(['create', '--first-name', 'B', '--email', 'b@example.com', '-o', 'id']);
    expect(created.out).toMatch(/^[0-9a-f-]{36}\n$/);
    expect(await call(['delete', created.out.trim(), '--yes'])).toMatchObject({ code: 0 });
  });

  it('json is --json for commands that print no users', async () => {
    for (const command of [['count'], ['health'], ['export']]) {
      const [long, short] = [await call([...command, '--json']), await call([...command, '-o', 'json'])];
      // The token of an export differs each time.
      expect({ ...short, err: '' }).toEqual({ ...long, err: '' });
      expect(short.code).toBe(0);
      expect(JSON.parse(short.out.split('\n')[0] ?? '')).toBeTypeOf('object');
    }
  });

  it('refuses other formats, and --json with another format', async () => {
    expect(await call(['list', '--output', 'xml'])).toMatchObject({ code: 2, out: '' });
    expect(await call(['list', '--json', '--output', 'csv'])).toMatchObject({ code: 2, out: '' });
    expect(await call(['list', '--json', '--output', 'json', '--limit', '1'])).toMatchObject({ code: 0 });
  });
});

describe('a table without a terminal', () => {
  it('keeps long values whole, and does not widen other lines for them', () => {
    const table = createTable([{ title: 'NAME' }, { title: 'EMAIL' }], undefined);
    const long = 'x'.repeat(2000);
    expect(table([[long, 'a@b']])).toBe(`NAME${' '.repeat(38)}EMAIL\n${long}  a@b\n`);
    expect(table([['Ada', 'c@d']])).toBe(`Ada${' '.repeat(39)}c@d\n`);
  });

  it('keeps long values whole on a terminal that does not know its width', () => {
    expect(createTable([{ title: 'EMAIL' }], 0)([['ada@example.com']])).toBe('EMAIL\nada@example.com\n');
  });
});

describe('colors', () => {
  it.each([
    [{}, true, true],
    [{}, false, false],
    [{ NO_COLOR: '1' }, true, false],
    [{ NO_COLOR: '' }, true, true],
    [{ CLICOLOR: '0' }, true, false],
    [{ TERM: 'dumb' }, true, false],
    [{ FORCE_COLOR: '1' }, false, true],
    [{ FORCE_COLOR: '' }, false, true],
    [{ FORCE_COLOR: '0' }, true, false],
    [{ FORCE_COLOR: '1', NO_COLOR: '1' }, false, true],
    [{ CLICOLOR_FORCE: '1' }, false, true],
    [{ CLICOLOR_FORCE: '0' }, false, false],
    [{ CLICOLOR_FORCE: '1', NO_COLOR: '1' }, true, false],
  ])('with %j on a terminal (%s): %s', (env, isTerminal, expected) => {
    expect(usesColors(env, isTerminal)).toBe(expected);
  });

  it.each([[['list']], [['get', 'ada0@example.com']], [['list', '--help']], [['get', 'nobody@example.com']]])(
    'are in the output of %j on a terminal only, and --no-color removes them',
    async (args) => {
      const textOf = ({ out, err }: Ran) => out + err;
      const colored = textOf(await call(args, { columns: 100, env: { NO_COLOR: '' } }));
      const plain = textOf(await call([...args, '--no-color'], { columns: 100, env: { NO_COLOR: '' } }));
      expect(colored).toContain('\u001b[');
      expect(plain).not.toContain('\u001b');
      expect(stripVTControlCharacters(colored)).toBe(plain);
      expect(textOf(await call(args, { env: { NO_COLOR: '' } }))).not.toContain('\u001b');
    },
  );
});
