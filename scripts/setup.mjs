/**
 * Prepares a clone: installs the packages of package-lock.json, compiles src to dist, and builds the web page to dist/web,
 * each only if needed. It needs only Node 20.17. If there is nothing to do, it uses no network and prints nothing.
 *
 * It runs before npm's main scripts because the Node that runs them is one of the packages (docs/decisions/0007). npm passes
 * the argument `prepare` while it installs this folder here or into another project. With the argument `packages` it only
 * installs, because `npm run dev` compiles for itself.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fs.realpathSync(path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..'));
const at = (...names) => path.join(root, ...names);

// npm 11, which wrote the lock, needs at least Node 20.17. An older Node cannot install a newer one.
const nodeMin = [20, 17];
// The minimum of package.json, for Roster itself if the package `node` is not installed.
const rosterNodeMin = [22, 15];

// A running setup touches its lock every second.
const lockSilenceMs = 15_000;

class SetupError extends Error {}

let interrupted;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    interrupted = signal;
    // The terminal sends Ctrl-C to the child as well, but only this process receives a SIGTERM.
    if (signal === 'SIGTERM') running?.kill(signal);
  });
}
let running;

try {
  await main();
} catch (error) {
  // A system error (no space, no permission) names its file. Any other error is a bug and needs its stack.
  const plain = error instanceof SetupError || error.syscall !== undefined;
  if (interrupted === undefined) console.error(plain ? `roster: ${error.message}` : error);
  process.exitCode = 1;
}
if (interrupted !== undefined) process.exitCode = interrupted === 'SIGINT' ? 130 : 143;

async function main() {
  if (process.env.ROSTER_SETUP !== undefined) return;
  if (!isNodeAtLeast(nodeMin)) {
    throw new SetupError(
      `Node ${process.versions.node} is too old. Install Node 24 (https://nodejs.org), or at least ${nodeMin.join('.')}.`,
    );
  }
  // While npm installs this folder, npm handles the packages. Without development packages there is no compiler.
  const isInstalling = process.argv[2] === 'prepare' && installsHere();
  if (isInstalling && !fs.existsSync(at('node_modules', 'typescript'))) return;
  const needsBuild = () => process.argv[2] !== 'packages' && !isBuilt();
  if ((isInstalling || isInstalled()) && !needsBuild()) return checkNode();
  const unlock = await lock();
  try {
    // Checks again, because another setup may have finished meanwhile.
    if (!isInstalling && !isInstalled()) await install();
    checkNode();
    if (needsBuild()) await build();
  } finally {
    unlock();
  }
}

function installsHere() {
  const project = process.env.npm_config_local_prefix;
  return project === undefined || (fs.existsSync(project) && fs.realpathSync(project) === root);
}

/** Compares npm's record of its last installation with package-lock.json. */
function isInstalled() {
  const wanted = readJson(at('package-lock.json'))?.packages;
  const present = readJson(at('node_modules', '.package-lock.json'))?.packages;
  if (wanted === undefined) throw new SetupError('package-lock.json is missing or damaged. Check it out again.');
  if (present === undefined) return false;
  return Object.entries(wanted).every(([place, entry]) => {
    if (place === '' || entry.link) return true;
    const found = present[place];
    // Packages for other platforms are not installed.
    if (found === undefined) return entry.optional === true || entry.devOptional === true;
    return found.version === entry.version && found.integrity === entry.integrity;
  });
}

async function install() {
  console.error('roster: installing packages (npm ci) …');
  // Runs npm on the Node that started it, because the one in node_modules is about to be replaced.
  const node = process.env.npm_node_execpath ?? process.execPath;
  const npm = process.env.npm_execpath;
  const args = ['ci', '--include=dev', '--no-fund', '--no-audit', '--loglevel=error'];
  const env = Object.fromEntries(
    // Removes settings that an outer npm has for its own project, but keeps settings such as the registry.
    Object.entries(process.env).filter(
      ([name]) =>
        !/^npm_config_(local_prefix|prefix|global|location|omit|only|production|save.*|install_links|dry_run)$/i.test(
          name,
        ),
    ),
  );
  const code =
    npm === undefined
      ? await run('npm', args, { env, shell: process.platform === 'win32' })
      : await run(node, [npm, ...args], { env });
  if (code !== 0) {
    throw new SetupError('npm ci failed (see above). Fix the cause and run the same command again.');
  }
  if (!isInstalled()) throw new SetupError('npm ci has not installed all packages of package-lock.json.');
}

function checkNode() {
  const own = at('node_modules', '.bin', process.platform === 'win32' ? 'node.cmd' : 'node');
  if (fs.existsSync(own)) return;
  if (isNodeAtLeast(rosterNodeMin)) return;
  throw new SetupError(
    `Node ${process.versions.node} is too old to run Roster, and npm did not install the package \`node\` with a newer one ` +
      '(install scripts may be disabled). Run `npm rebuild node`, or install Node 24.',
  );
}

function isNodeAtLeast([majorMin, minorMin]) {
  const [major, minor] = process.versions.node.split('.').map(Number);
  return major > majorMin || (major === majorMin && minor >= minorMin);
}

function isBuilt() {
  return isCompiled() && isPageBuilt();
}

function isCompiled() {
  const sources = listSources();
  return readNote().fingerprint === codeFingerprint(sources) && outputsOf(sources).every((file) => fs.existsSync(file));
}

function isPageBuilt() {
  if (!hasPage()) return true;
  const note = readNote().page;
  return note?.fingerprint === pageFingerprint() && note.files.every((file) => fs.existsSync(at('dist', 'web', file)));
}

async function build() {
  if (!isCompiled()) await compile();
  if (!isPageBuilt()) await buildPage();
}

/** Overwrites existing files, so that a server that runs from dist never misses a file. */
async function compile() {
  console.error('roster: compiling …');
  const sources = listSources();
  const before = codeFingerprint(sources);
  note({ fingerprint: undefined });
  const tsc = at('node_modules', 'typescript', 'bin', 'tsc');
  const code = await run(process.execPath, [
    tsc,
    '-p',
    'tsconfig.build.json',
    '--incremental',
    'false',
    '--tsBuildInfoFile',
    'null',
  ]);
  if (code !== 0) throw new SetupError('The sources do not compile (see above).');
  const outputs = new Set(outputsOf(sources));
  for (const folder of sourceFolders()) {
    for (const file of listFiles(at('dist', folder))) {
      if (!outputs.has(file) && !outputs.has(file.replace(/\.(js\.map|d\.ts)$/, '.js'))) fs.rmSync(file);
    }
  }
  // Written last, with the fingerprint from before the build, so that an edit during the build causes another one.
  note({ fingerprint: before });
}

async function buildPage() {
  console.error('roster: building the page …');
  const before = pageFingerprint();
  note({ page: undefined });
  const vite = at('node_modules', 'vite', 'bin', 'vite.js');
  // Vite needs a newer Node than this setup.
  const own = at('node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  const node = fs.existsSync(own) ? own : process.execPath;
  const code = await run(node, [vite, 'build', 'web', '--logLevel', 'warn']);
  if (code !== 0) throw new SetupError('The page does not build (see above).');
  const files = listFiles(at('dist', 'web')).map((file) => path.relative(at('dist', 'web'), file));
  note({ page: { fingerprint: before, files } });
}

function readNote() {
  return readJson(at('dist', '.setup.json')) ?? {};
}

/** Records the sources of each build. */
function note(change) {
  fs.mkdirSync(at('dist'), { recursive: true });
  fs.writeFileSync(at('dist', '.setup.json'), `${JSON.stringify({ ...readNote(), ...change })}\n`);
}

function sourceFolders() {
  return readJson(at('tsconfig.build.json'))?.include ?? [];
}

function listSources() {
  return sourceFolders()
    .flatMap((folder) => listFiles(at(folder)))
    .filter((file) => file.endsWith('.ts'))
    .sort();
}

function outputsOf(sources) {
  return sources
    .filter((file) => !file.endsWith('.d.ts'))
    .map((file) => at('dist', `${path.relative(root, file).slice(0, -3)}.js`));
}

function hasPage() {
  return fs.existsSync(at('web', 'index.html'));
}

function codeFingerprint(sources) {
  return fingerprint([
    ...sources,
    at('tsconfig.json'),
    at('tsconfig.build.json'),
    at('node_modules', 'typescript', 'package.json'),
  ]);
}

/** Includes the lock for the bundled packages, and all of src because the bundled part is not known here. */
function pageFingerprint() {
  const folders = ['web', 'generated', 'src'].flatMap((name) => listFiles(at(name)).sort());
  return fingerprint([...folders, at('package-lock.json')]);
}

/** Hashes contents and not times, because a checkout changes times. */
function fingerprint(files) {
  const hash = createHash('sha256');
  for (const file of files) {
    const content = fs.readFileSync(file);
    hash.update(`${path.relative(root, file)} ${content.length}\n`).update(content);
  }
  return hash.digest('hex');
}

/** A file counts as a folder with only itself, because tsconfig.build.json also names files. */
function listFiles(folder) {
  const found = fs.statSync(folder, { throwIfNoEntry: false });
  if (found === undefined) return [];
  if (found.isFile()) return [folder];
  return fs
    .readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) =>
      entry.isDirectory() ? listFiles(path.join(folder, entry.name)) : [path.join(folder, entry.name)],
    );
}

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Runs a command with its output on stderr, because stdout belongs to the next script. */
async function run(command, args, options = {}) {
  const env = { ...(options.env ?? process.env), ROSTER_SETUP: '1' };
  running = spawn(command, args, { ...options, cwd: root, env, stdio: ['ignore', 2, 2] });
  const code = await new Promise((resolve, reject) => {
    running.on('error', reject);
    running.on('close', resolve);
  });
  running = undefined;
  if (interrupted !== undefined) throw new SetupError('interrupted');
  return code;
}

/**
 * Prevents two setups from running at once. A waiting setup removes the lock if its owner has exited, or has not touched it
 * for a while. The pid alone is not enough: after a machine crash, it may belong to another process.
 */
async function lock() {
  const file = at('.roster', 'setup.lock');
  fs.mkdirSync(path.dirname(file), { recursive: true });
  let seen;
  let since = Date.now();
  let isReported = false;
  for (;;) {
    try {
      fs.writeFileSync(file, `${process.pid}\n`, { flag: 'wx' });
      const touching = setInterval(() => fs.utimes(file, new Date(), new Date(), () => {}), 1000);
      return () => {
        clearInterval(touching);
        fs.rmSync(file, { force: true });
      };
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const touched = fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs;
    if (touched !== seen) {
      seen = touched;
      since = Date.now();
    }
    const pid = Number.parseInt(readText(file), 10);
    if ((pid > 0 && !isAlive(pid)) || Date.now() - since > lockSilenceMs) {
      discard(file, pid);
      continue;
    }
    if (!isReported && touched !== undefined) console.error(`roster: waiting for another setup (process ${pid}) …`);
    isReported = true;
    await new Promise((resolve) => setTimeout(resolve, 100));
    if (interrupted !== undefined) throw new SetupError('interrupted');
  }
}

/** Moves the file before reading it, so that a process cannot remove the new lock of another process. */
function discard(file, pid) {
  const moved = `${file}.${process.pid}`;
  try {
    fs.renameSync(file, moved);
    const { 0: owner } = readText(moved).split('\n');
    if (Number.isNaN(pid) ? owner === '' : Number(owner) === pid) fs.rmSync(moved);
    else fs.renameSync(moved, file);
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
}

function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function isAlive(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
}
