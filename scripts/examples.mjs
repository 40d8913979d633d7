/**
 * Runs each example that has a check.mjs, one after the other, in a copy outside the repository. It starts a separate Roster,
 * so it never changes the user's database.
 *
 * A check receives ROSTER_ADDRESS (gRPC), ROSTER_HTTP (the gateway), ROSTER_TOKEN (an API key, which each call needs) and
 * ROSTER_REPO. It exits with 0, or with 75 and a line
 * on its standard output that names the missing toolchain. Arguments are names of examples, such as `clients/go`;
 * `--minutes-max` is the time limit of each.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { createKey } from './create-key.mjs';

const root = path.resolve(import.meta.dirname, '..');
const examples = path.join(root, 'examples');
const programs = path.join(root, 'node_modules/.bin');

// EX_TEMPFAIL of sysexits.h, with which other programs rarely exit.
const skippedCode = 75;
// Much more than it takes to read the rest of a pipe whose writers have exited.
const outputMsMax = 5_000;
const { positionals, values } = parseArgs({
  allowPositionals: true,
  // On a slow connection, compilers that download dependencies take minutes.
  options: { 'minutes-max': { type: 'string', default: '10' } },
});
const minutesMax = Number(values['minutes-max']);
const temporary = fs.mkdtempSync(path.join(tmpdir(), 'roster-examples-'));
const copies = path.join(temporary, 'examples');
// For root, Postgres runs as another account, which must be able to enter the folder.
fs.chmodSync(temporary, 0o711);
const interrupted = new AbortController();
// Repeated signals have no further effect, because exiting at once would leave Roster and its database behind.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => interrupted.abort());

let roster;
try {
  const names = namesToRun();
  roster = await startRoster();
  const results = [];
  for (const name of names) {
    if (!interrupted.signal.aborted) results.push(await runCheck(name, roster.env));
  }
  report(results);
  if (interrupted.signal.aborted || results.some(({ outcome }) => outcome === 'failed')) process.exitCode = 1;
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await roster?.stop();
  fs.rmSync(temporary, { recursive: true, force: true });
}

function namesToRun() {
  const found = fs
    .globSync('**/check.mjs', { cwd: examples, exclude: ['**/node_modules'] })
    .map((file) => path.dirname(file).replaceAll(path.sep, '/'))
    .sort();
  const unknown = positionals.filter((name) => !found.includes(name));
  if (unknown.length > 0)
    throw new Error(`Unknown example ${unknown.join(', ')}. The examples are: ${found.join(', ')}`);
  return positionals.length > 0 ? positionals : found;
}

/** Uses a new embedded Postgres, and ignores DATABASE_URL of this process. */
async function startRoster() {
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    DATA_DIR: path.join(temporary, 'data'),
    GRPC_ADDRESS: 'localhost:0',
    HTTP_ADDRESS: 'localhost:0',
    LOG_FORMAT: 'json',
    AUTH: 'on',
  };
  const child = spawn(process.execPath, ['dist/src/main.js', 'serve'], {
    cwd: root,
    env,
    // Ctrl-C reaches the whole process group, but the database must outlive the check.
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const log = createInterface(child.stdout);
  const listening = new Promise((resolve) => {
    log.on('line', (line) => {
      const { msg, address, http } = JSON.parse(line);
      if (msg === 'listening') resolve({ address, http });
    });
  });
  const addresses = await Promise.race([listening, exited]);
  if (addresses.address === undefined) throw new Error('Roster did not start. See the messages above.');
  return {
    env: {
      ROSTER_ADDRESS: addresses.address,
      ROSTER_HTTP: `http://${addresses.http}`,
      ROSTER_TOKEN: createKey(env, 'writer', 'bulk'),
      ROSTER_REPO: root,
    },
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

async function runCheck(name, rosterEnv) {
  console.log(`\n== ${name}`);
  const startMs = performance.now();
  const folder = path.join(copies, name);
  if (!fs.existsSync(folder)) copyExample(name.split('/')[0]);
  const child = spawn(process.execPath, ['check.mjs'], {
    cwd: folder,
    // Adds the packages' programs, such as buf, to the path, as npm does.
    env: { ...process.env, PATH: `${programs}${path.delimiter}${process.env.PATH}`, ...rosterEnv },
    // A separate process group, so that the child processes of a check end with it.
    detached: true,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let lastLine = '';
  const lines = createInterface(child.stdout).on('line', (line) => {
    console.log(line);
    if (line.trim() !== '') lastLine = line.trim();
  });
  const read = once(lines, 'close');

  let why = '';
  const end = (reason) => {
    why = reason;
    killGroup(child);
  };
  const onInterrupt = () => end('interrupted');
  interrupted.signal.addEventListener('abort', onInterrupt);
  const timer = setTimeout(() => end(`did not finish within ${minutesMax} minutes`), minutesMax * 60_000);
  const [code, signal] = await once(child, 'exit');
  clearTimeout(timer);
  interrupted.signal.removeEventListener('abort', onInterrupt);
  // Ends processes that the check left running, because they would keep its output open.
  killGroup(child);
  // A process outside the group may still keep the output open.
  await Promise.race([read, sleep(outputMsMax, undefined, { ref: false })]);
  child.stdout.destroy();

  const seconds = Math.round((performance.now() - startMs) / 1000);
  if (why !== '') return { name, outcome: 'failed', why, seconds };
  if (code === 0) return { name, outcome: 'passed', why: '', seconds };
  if (code === skippedCode) return { name, outcome: 'skipped', why: lastLine, seconds };
  return { name, outcome: 'failed', why: signal ?? `exit code ${code}`, seconds };
}

function killGroup({ pid }) {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    // No process is left, or on macOS only zombies are.
    if (error.code !== 'ESRCH' && error.code !== 'EPERM') throw error;
  }
}

/**
 * Copies a whole folder of examples/ (`clients` for `clients/go`), because its examples may share files. It leaves out
 * files that git ignores.
 *
 * It links npm packages instead of installing them: Roster's to this repository, and the others to this repository's
 * node_modules, in the locked versions.
 */
function copyExample(name) {
  const source = path.join(examples, name);
  const folder = path.join(copies, name);
  for (const file of listFiles(source)) {
    // The file was deleted, but git's index still has it.
    if (!fs.existsSync(path.join(source, file))) continue;
    fs.cpSync(path.join(source, file), path.join(folder, file));
  }
  for (const manifest of fs.globSync('**/package.json', { cwd: folder })) {
    const { dependencies = {}, devDependencies = {} } = JSON.parse(
      fs.readFileSync(path.join(folder, manifest), 'utf8'),
    );
    for (const dependency of Object.keys({ ...dependencies, ...devDependencies })) {
      if (dependency === '@roster-directory/client') {
        linkClient(path.join(folder, path.dirname(manifest), 'node_modules', dependency));
        continue;
      }
      const target = dependency === '@roster-directory/roster' ? root : path.join(root, 'node_modules', dependency);
      // The check itself installs packages that this repository does not have.
      if (!fs.existsSync(target)) continue;
      const link = path.join(folder, path.dirname(manifest), 'node_modules', dependency);
      fs.mkdirSync(path.dirname(link), { recursive: true });
      fs.symlinkSync(target, link, 'dir');
    }
  }
}

/** Links what scripts/pack.mjs packs. */
function linkClient(folder) {
  fs.mkdirSync(folder, { recursive: true });
  const manifest = { name: '@roster-directory/client', type: 'module', exports: './src/client/index.js' };
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify(manifest));
  for (const part of ['src', 'generated']) {
    fs.symlinkSync(path.join(root, 'dist', part), path.join(folder, part), 'dir');
  }
}

/** The files of a folder, relative to it. Outside a git clone, all files except node_modules. */
function listFiles(folder) {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const { status, stdout } = spawnSync('git', args, { cwd: folder, encoding: 'utf8' });
  if (status === 0) return stdout.split('\0').filter((file) => file !== '');
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .filter((file) => !file.split(path.sep).includes('node_modules'));
}

/** Prints a table, and a last line for programs. */
function report(results) {
  const width = Math.max(0, ...results.map(({ name }) => name.length));
  console.log();
  for (const { name, outcome, why, seconds } of results) {
    console.log(`${name.padEnd(width)}  ${outcome}  ${`${seconds}`.padStart(4)} s  ${why}`.trimEnd());
  }
  const count = (wanted) => results.filter(({ outcome }) => outcome === wanted).length;
  console.log(`\n${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`);
}
