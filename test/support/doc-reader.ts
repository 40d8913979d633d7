/**
 * Follows the docs as a new user does: a copy of this repository as `roster` in an empty folder, a shell, other folders next
 * to the clone, and the server with its embedded Postgres that README starts.
 *
 * The pages name the default ports, which may be in use here. So commands, files and output are translated.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { expect } from 'vitest';
import { beginsWith, isShown } from './doc-output.js';
import { compilerOptions } from './outside.js';

const root = path.resolve(import.meta.dirname, '../..');

// Compilers and package managers share two cores with the other tests.
const timeout = { timeout: 600_000, interval: 50 };

// The output of a command that keeps running. A server compiles first.
const untilShown = { timeout: 240_000, interval: 50 };

/** Commands that run until the reader ends them. They end with the last page. */
const staysOpen = /^(?:npm run serve$|(?:[A-Z_]+=\S+\s+(?:\\\n\s+)?)*\.\/roster (?:gateway |serve$))/;

/** npm's record of the packages that it has installed. */
const npmRecord = '.package-lock.json';

/** A clone prints this when it installs its packages. Here it finds them installed. */
const installing = 'roster: installing packages (npm ci) …';

/** Package managers. The pages omit what they print. */
const installs = /^(?:npm (?:init|install|pkg)|go (?:get|install|mod)|mvn|python3 -m venv|venv\/bin\/pip) /;

/** The lines that `npm run` prints before a script. */
const npmBanner = /^\n(?:> .*\n){2}\n/gm;

/** A command prints these only if it takes longer than a second. */
const progressLines =
  /^(?:Checking|Exporting|Finishing|Importing|Writing): (?:\d+% \| )?[\d,]+ rows \| [\d,]+\/s \| .*\n/gm;

/** Messages of package managers that cannot reach their registry. */
const offline = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|name resolution|dial tcp|UnknownHostException/;

export class Offline extends Error {}

interface Started {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: () => number | null | undefined;
}

export interface Reader extends AsyncDisposable {
  /** Begins a page in the clone, or in the empty folder before there is a clone. */
  beginPage(): void;
  /** Sets variables for the commands of this page. */
  setVariables(env: Record<string, string>): void;
  /** Creates a file in the current folder. */
  write(name: string, text: string): void;
  /** Runs a command and expects the output that the page shows. Throws Offline if a registry cannot be reached. */
  run(line: string, shown: string): Promise<void>;
  /** Whether the current folder has an npm program. */
  hasProgram(name: string): boolean;
  /** The compiler's errors in the .ts files that were written since the last call. */
  typeErrors(): string;
  /** The URL of the embedded Postgres. */
  databaseUrl(): string;
}

export function createReader(): Reader {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(tmpdir(), 'roster-docs-')));
  // For root, Postgres runs as another account, which must be able to enter the folder.
  fs.chmodSync(folder, 0o711);
  const empty = path.join(folder, 'empty');
  fs.mkdirSync(empty);
  const clone = path.join(empty, 'roster');
  const shell = createShell(folder);
  const ports = createPorts();
  const typeScript = new Map<string, string[]>();
  let cwd = empty;
  let variables: Record<string, string> = {};

  async function run(line: string, page: string): Promise<void> {
    const shown = withoutInstalling(page);
    const cloning = /^git clone .*? roster\b/;
    if (cloning.test(line)) copyRepository(clone);
    const command = await ports.toReal(line.replace(cloning, 'true'));
    const started = shell.start(cwd, command, { ...ports.env(), ...variables });
    const output = () => ports.toShown(started.output(), shown.search(progressLines) >= 0 ? undefined : progressLines);
    const [first = '', rest] = shown.split('^C\n');
    if (rest !== undefined || staysOpen.test(line)) {
      const isReady = () => started.ended() !== undefined || beginsWith(output(), first) || output();
      await expect.poll(isReady, { ...untilShown, message: line }).toBe(true);
      if (rest === undefined) {
        if (started.ended() !== undefined) expect(output(), line).toBe(shown);
        return;
      }
      signal(started.child, 'SIGINT');
    }
    const result = () => (started.ended() === undefined ? output() : 'ended');
    await expect.poll(result, { ...timeout, message: line }).toBe('ended');
    if (started.ended() !== 0 && installs.test(line) && offline.test(started.output()))
      throw new Offline(`${line}: ${started.output()}`);
    cwd = shell.cwd() ?? cwd;
    const expected = first + (rest ?? '');
    if (expected === '' && installs.test(line)) {
      if (started.ended() !== 0) expect.fail(`${line}: ${started.output()}`);
      return;
    }
    if (!isShown(output(), expected)) expect(output(), line).toBe(expected);
  }

  return {
    run,
    beginPage() {
      cwd = fs.existsSync(clone) ? clone : empty;
      variables = {};
    },
    write(name, text) {
      const file = path.join(cwd, name);
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, ports.toRealNow(text));
      if (name.endsWith('.ts')) typeScript.set(cwd, [...(typeScript.get(cwd) ?? []), name]);
    },
    setVariables(env) {
      variables = env;
    },
    hasProgram: (name) => fs.existsSync(path.join(cwd, 'node_modules/.bin', name)),
    typeErrors() {
      const errors = [...typeScript].map(([place, files]) => typeErrors(place, files));
      typeScript.clear();
      return errors.join('');
    },
    databaseUrl() {
      const read = (name: string) => fs.readFileSync(path.join(clone, '.roster', name), 'utf8').trim();
      return `postgres://roster:${read('password')}@127.0.0.1:${read('port')}/roster`;
    },
    async [Symbol.asyncDispose]() {
      await shell.stop();
      await fs.promises.rm(folder, { recursive: true, force: true });
    },
  };
}

/**
 * Copies the sources, including changes that are not committed. Installing takes a minute, so each package is linked. The
 * folder itself is not, because `npm ci` would empty it.
 */
function copyRepository(clone: string): void {
  const isLeftOut = (name: string) => /^(?:node_modules|dist|\.roster|\.git)$/.test(name);
  fs.mkdirSync(clone);
  for (const name of fs.readdirSync(root).filter((name) => !isLeftOut(name))) {
    const filter = (source: string) => !isLeftOut(path.basename(source));
    fs.cpSync(path.join(root, name), path.join(clone, name), { recursive: true, filter });
  }
  const packages = path.join(clone, 'node_modules');
  fs.mkdirSync(packages);
  for (const name of fs.readdirSync(path.join(root, 'node_modules'))) {
    if (name !== npmRecord) fs.symlinkSync(path.join(root, 'node_modules', name), path.join(packages, name));
  }
  fs.copyFileSync(path.join(root, 'package-lock.json'), path.join(packages, npmRecord));
}

/** Runs lines of bash, each in a process group of its own, as a terminal does. */
function createShell(folder: string) {
  const tools = path.join(folder, '.tools');
  const pwdFile = path.join(folder, '.pwd');
  const running = new Set<Started>();
  let code: number | null = 0;
  // The settings of the npm and of the tests that run this must not reach the reader's programs.
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(?:npm_|NODE_(?:ENV|OPTIONS|PATH)|VITEST|INIT_CWD|ROSTER_|DATABASE_|PG|FORCE_COLOR)/i.test(name),
  );
  fs.mkdirSync(tools);
  // On a terminal, curl shows its progress only for files.
  fs.writeFileSync(path.join(tools, '.curlrc'), 'silent\nshow-error\n');
  const shellEnv = {
    ...Object.fromEntries(inherited),
    PATH: [tools, path.dirname(process.execPath), process.env.PATH].join(path.delimiter),
    GOBIN: tools,
    CURL_HOME: tools,
    // The commands must not change the contexts of the developer who runs the test.
    XDG_CONFIG_HOME: path.join(folder, '.config'),
    NO_COLOR: '1',
    LOG_FORMAT: 'pretty',
    npm_config_loglevel: 'error',
    npm_config_prefer_offline: 'true',
  };
  // If the test is interrupted, the server must not outlive it.
  process.once('exit', () => {
    for (const { child } of running) signal(child, 'SIGINT');
  });
  return {
    start(cwd: string, line: string, more: Record<string, string>): Started {
      const keepFolder = /\bcd /.test(line) ? `\ncode=$?; pwd > '${pwdFile}'; exit $code` : '';
      const child = spawn('bash', ['-c', `exec 2>&1; ${line.replaceAll('$?', `${code}`)}${keepFolder}`], {
        cwd,
        detached: true,
        stdio: ['ignore', 'pipe', 'inherit'],
        env: { ...shellEnv, ...more },
      });
      let output = '';
      child.stdout?.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
      let ended: number | null | undefined;
      const started = { child, output: () => output, ended: () => ended };
      running.add(started);
      child.once('close', (status) => {
        ended = status;
        code = status;
        running.delete(started);
      });
      return started;
    },
    /** The folder of the last command that changed it. */
    cwd(): string | undefined {
      if (!fs.existsSync(pwdFile)) return undefined;
      const cwd = fs.readFileSync(pwdFile, 'utf8').trim();
      fs.rmSync(pwdFile);
      return cwd;
    },
    async stop() {
      for (const { child } of [...running].reverse()) {
        const closed = new Promise((resolve) => child.once('close', resolve));
        signal(child, 'SIGINT');
        await closed;
      }
    },
  };
}

function withoutInstalling(shown: string): string {
  if (!shown.startsWith(installing)) return shown;
  expect(fs.readFileSync(path.join(root, 'scripts/setup.mjs'), 'utf8')).toContain(installing);
  return shown.slice(installing.length + 1);
}

function signal({ pid, exitCode, signalCode }: ChildProcess, name: NodeJS.Signals): void {
  if (exitCode === null && signalCode === null && pid !== undefined) process.kill(-pid, name);
}

/** Translates between the ports of the pages and free ports. The server chooses its own, and prints them. */
function createPorts() {
  const real = new Map<string, string>();
  const replaceAll = (text: string, from: (pair: [string, string]) => [string, string]) =>
    [...real].map(from).reduce((text, [shown, used]) => text.replaceAll(shown, used), text);
  const toRealNow = (text: string) => replaceAll(text, (pair) => pair);
  return {
    toRealNow,
    async toReal(line: string): Promise<string> {
      for (const [shown] of line.matchAll(/\blocalhost:\d{4,5}\b/g)) {
        if (!real.has(shown)) real.set(shown, `localhost:${await freePort()}`);
      }
      return toRealNow(line);
    },
    toShown(output: string, leftOut: RegExp | undefined): string {
      const [, grpc, http] = /^Roster listens on (\S+)\. The page is at http:\/\/(\S+)\/$/m.exec(output) ?? [];
      if (grpc !== undefined && http !== undefined && !real.has('localhost:50051')) {
        real.set('localhost:50051', grpc).set('localhost:8080', http);
      }
      const ours = stripVTControlCharacters(output).replaceAll('\r\n', '\n').replaceAll(npmBanner, '');
      const text = leftOut === undefined ? ours : ours.replaceAll(leftOut, '');
      // The server adds the flag because its port is not the default.
      const plain = text.replaceAll(` --address ${real.get('localhost:50051')}`, '');
      return replaceAll(plain, ([shown, used]) => [used, shown]);
    },
    env(): Record<string, string> {
      const address = real.get('localhost:50051');
      if (address !== undefined) return { ROSTER_ADDRESS: address };
      return { GRPC_ADDRESS: 'localhost:0', HTTP_ADDRESS: 'localhost:0' };
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('The server has no port.');
  return address.port;
}

function typeErrors(folder: string, files: readonly string[]): string {
  const config = path.join(folder, 'tsconfig.docs.json');
  const lib = [...compilerOptions.lib, 'dom'];
  fs.writeFileSync(config, JSON.stringify({ compilerOptions: { ...compilerOptions, lib }, files }));
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  return spawnSync(process.execPath, [tsc, '-p', config], { cwd: folder, encoding: 'utf8' }).stdout;
}
