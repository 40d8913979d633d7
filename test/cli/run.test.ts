/** The command line without a server: help, invalid arguments and interruptions. */
import { spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { roster, start } from './command-line.js';

describe('roster', () => {
  it('lists its commands and exit codes', async () => {
    const { code, out, err } = await roster(['--help']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    for (const word of ['serve', 'migrate', 'indexes', 'create', 'get', 'update', 'delete', 'list', 'Exit codes:']) {
      expect(out).toContain(word);
    }
  });

  it.each(['create', 'get', 'update', 'delete', 'list'])(
    '%s --help has an example and the setting for the address',
    async (name) => {
      const { code, out } = await roster([name, '--help']);
      expect(code).toBe(0);
      expect(out).toContain(`roster ${name} `);
      expect(out).toContain('ROSTER_ADDRESS');
    },
  );

  it.each(['serve', 'migrate', 'indexes'])('%s --help lists the settings', async (name) => {
    const { code, out } = await roster([name, '--help']);
    expect(code).toBe(0);
    expect(out).toContain('DATABASE_URL');
  });

  it('prints its version', async () => {
    expect((await roster(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each([
    [
      '22.14.0',
      1,
      'error: Roster needs Node 22.15 or later, but this is Node 22.14.0. Install a newer one (https://nodejs.org).\n',
    ],
    [
      '9.12.0',
      1,
      'error: Roster needs Node 22.15 or later, but this is Node 9.12.0. Install a newer one (https://nodejs.org).\n',
    ],
    ['22.15.0', 0, ''],
  ])('checks the version of Node: %s', (version, status, stderr) => {
    const pretend = `data:text/javascript,Object.defineProperty(process.versions, 'node', { value: '${version}' })`;
    const main = resolve(import.meta.dirname, '../../dist/src/main.js');
    const ran = spawnSync(process.execPath, ['--import', pretend, main, '--version'], { encoding: 'utf8' });
    expect(ran).toMatchObject({ status, stderr });
  });

  it('handles signals that arrive while it loads its code, which the first process of a container would ignore', () => {
    const interrupt = `data:text/javascript,
      import { registerHooks } from 'node:module';
      registerHooks({
        load(url, context, next) {
          if (url.endsWith('/cli/run.js')) process.kill(process.pid, 'SIGTERM');
          return next(url, context);
        },
      });`;
    const main = resolve(import.meta.dirname, '../../dist/src/main.js');
    const args = ['--import', interrupt, main, 'list', '--address', 'localhost:1'];
    expect(spawnSync(process.execPath, args, { encoding: 'utf8' })).toMatchObject({ status: 143, stderr: '' });
  });

  it.each([
    [[]],
    [['lost']],
    [['get']],
    [['get', 'a', 'b']],
    [['list', '--limit', 'x']],
    [['list', '--lost']],
    [['create', '--attribute', 'x']],
    [['migrate', 'sideways']],
    [['migrate']],
    [['indexes', 'repair']],
    [['indexes', 'build']],
    [['indexes', 'drop', 'users_pkey']],
    [['indexes', 'status', 'users_search']],
  ])('%j ends with 2 and says why', async (args) => {
    const { code, out, err } = await roster(args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).not.toBe('');
  });

  it('suggests a similar command', async () => {
    expect((await roster(['lsit'])).err).toContain('list');
  });

  it('reports an invalid argument as JSON with --json', async () => {
    const { code, err } = await roster(['list', '--json', '--lost']);
    expect(code).toBe(2);
    expect(JSON.parse(err)).toMatchObject({ error: { exitCode: 2 } });
  });

  it('lists all problems with the settings of a server', async () => {
    const { code, err } = await roster(['serve', '--log-level', 'loud', '--grpc-address', 'nowhere'], { columns: 80 });
    expect(code).toBe(2);
    expect(err.match(/^error: /gm)).toHaveLength(2);
  });

  it('writes the problems of a server as lines of its log if the log is JSON', async () => {
    const args = ['serve', '--log-level', 'loud', '--grpc-address', 'nowhere'];
    const problem = { level: 'fatal', time: expect.stringMatching(/^\d{4}-.*Z$/), exitCode: 2 };
    const linesIn = (text: string) =>
      text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
    for (const [more, world] of [
      [[], {}],
      [['--log-format', 'json'], { columns: 80, errorsAtTerminal: false }],
      [['--log-format=json'], { env: { LOG_FORMAT: 'pretty' } }],
      [[], { env: { LOG_FORMAT: 'json' } }],
    ] as const) {
      const { code, out, err } = await roster([...args, ...more], world);
      expect({ code, err }).toEqual({ code: 2, err: '' });
      expect(linesIn(out)).toMatchObject([
        { ...problem, msg: expect.stringContaining('--grpc-address must be') },
        { ...problem, msg: expect.stringContaining('--log-level must be') },
      ]);
    }
    // The log of these commands is on the standard error output.
    for (const command of [
      ['migrate', 'up'],
      ['indexes', 'status'],
    ]) {
      const { out, err } = await roster([...command, '--log-level', 'loud']);
      expect(out).toBe('');
      expect(linesIn(err)).toMatchObject([{ ...problem, msg: expect.stringContaining('--log-level must be') }]);
    }
  });

  it('also writes the problems of a server to a terminal if only its log is redirected', async () => {
    const { out, err } = await roster(['serve', '--log-level', 'loud'], { errorsAtTerminal: true });
    expect(JSON.parse(out)).toMatchObject({ level: 'fatal' });
    expect(err).toMatch(/^error: --log-level must be .*\n$/);
  });

  it.each([
    [
      'serve',
      ['serve', '0.0.0.0:9'],
      { npm_config_grpc_address: 'true' },
      'npm run serve -- --grpc-address <host:port>',
    ],
    ['serve', ['serve'], { npm_config_insecure: 'true' }, 'npm run serve -- --insecure'],
    ['serve', ['serve'], { npm_config_insecure: '' }, 'npm run serve -- --insecure'],
    ['migrate', ['migrate', 'up'], { npm_config_database_url: 'postgres://a:hidden@b/c' }, '-- --database-url <url>'],
    ['serve', ['serve', 'localhost:1'], {}, 'npm run serve -- --grpc-address localhost:50051'],
  ])('says how to write a flag that npm kept: npm run %s with %j and %j', async (script, args, kept, advice) => {
    const npm = { npm_lifecycle_event: script, npm_package_name: '@roster-directory/roster' };
    const ran = await roster(args, { env: { ...npm, ...kept }, columns: 80 });
    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err).toContain(advice);
    expect(ran.err).not.toContain('hidden');
  });

  it('does not mistake settings of npm for its own flags', async () => {
    const { stdout } = spawnSync('npm', ['config', 'list', '--long', '--json'], { encoding: 'utf8' });
    const names = Object.keys(JSON.parse(stdout));
    expect(names).toContain('loglevel');
    const settings = names.map((name) => [`npm_config_${name.replaceAll('-', '_')}`, 'x']);
    const npm = { npm_lifecycle_event: 'serve', npm_package_name: '@roster-directory/roster' };
    const { code } = await roster(['--version'], { env: { ...npm, ...Object.fromEntries(settings) } });
    expect(code).toBe(0);
    // The flags of another package's script are its own.
    const other = { npm_package_name: 'other', npm_config_workers: '2' };
    expect(await roster(['--version'], { env: { ...npm, ...other } })).toMatchObject({ code: 0 });
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ])('ends a call at %s with %d, and the process at the second one', async (signal, code) => {
    // Accepts connections and never answers.
    const silent = createServer(() => started.signals.emit(signal, signal));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const address = silent.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const started = start(['get', 'a@b', '--address', `127.0.0.1:${port}`]);
    expect(await started.ended).toEqual({ code, out: '', err: '' });
    expect(started.exits).toEqual([]);
    silent.close();
  });
});
