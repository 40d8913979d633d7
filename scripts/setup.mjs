/**
 * Brings a clone to where it can run: installs the packages that package-lock.json names and compiles src to dist, and
 * builds the web page to dist/web, each only if it is not done yet. Needs nothing but Node 20.17 itself; without work to do it uses no network and says nothing.
 *
 * It runs before npm's main scripts and not inside them, because the Node that they should run on is one of the packages.
 * `prepare` as an argument means that npm itself runs it, while it installs this folder here or into another project.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fs.realpathSync(path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..'));
const at = (...names) => path.join(root, ...names);

// npm 11, which wrote the lock, runs on Node 20 from 20.17 on; what is older cannot even unpack a newer one.
const nodeMin = [20, 17];
// As in package.json: what Roster itself runs on, when the package `node` could not bring its own.
const rosterNodeMin = [22, 12];

// Longer than any pause of a process that is alive, which touches its lock every second.
const lockSilenceMs = 15_000;

class SetupError extends Error {}

let interrupted;
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    interrupted = signal;
    // The terminal sends Ctrl-C to the child as well; a SIGTERM comes to this process alone.
    if (signal === 'SIGTERM') running?.kill(signal);
  });
}
let running;

try {
  await main();
} catch (error) {
  // An error of the system (no space, not allowed) names its file; anything else is a bug and wants its stack.
  const plain = error instanceof SetupError || error.syscall !== undefined;
  if (interrupted === undefined) console.error(plain ? `roster: ${error.message}` : error);
  process.exitCode = 1;
}
if (interrupted !== undefined) process.exitCode = interrupted === 'SIGINT' ? 130 : 143;

async function main() {
  if (process.env.ROSTER_SETUP !== undefined) return;
  if (!isNodeAtLeast(nodeMin)) {
    throw new SetupError(
      `Node ${process.versions.node} is too old: install Node 24 (https://nodejs.org), at least ${nodeMin.join('.')}.`,
    );
  }
  // While npm installs this very folder it has the packages in hand, and without development packages there is no compiler.
  const installing = process.argv[2] === 'prepare' && installsHere();
  if (installing && !fs.existsSync(at('node_modules', 'typescript'))) return;
  if ((installing || isInstalled()) && isBuilt()) return checkNode();
  const unlock = await lock();
  try {
    // Asked again: another setup may have done it meanwhile.
    if (!installing && !isInstalled()) await install();
    checkNode();
    if (!isBuilt()) await build();
  } finally {
    unlock();
  }
}

function installsHere() {
  const project = process.env.npm_config_local_prefix;
  return project === undefined || (fs.existsSync(project) && fs.realpathSync(project) === root);
}

/** Compares what npm has noted of its last installation with what the lock wants; no clock and no stamp of our own. */
function isInstalled() {
  const wanted = readJson(at('package-lock.json'))?.packages;
  const present = readJson(at('node_modules', '.package-lock.json'))?.packages;
  if (wanted === undefined) throw new SetupError('package-lock.json is missing or damaged: check it out again.');
  if (present === undefined) return false;
  return Object.entries(wanted).every(([place, entry]) => {
    if (place === '' || entry.link) return true;
    const found = present[place];
    // What is for other platforms is not installed.
    if (found === undefined) return entry.optional === true || entry.devOptional === true;
    return found.version === entry.version && found.integrity === entry.integrity;
  });
}

async function install() {
  console.error('roster: installing packages (npm ci) …');
  // npm runs on the Node that it was started with: the one in node_modules is about to be replaced.
  const node = process.env.npm_node_execpath ?? process.execPath;
  const npm = process.env.npm_execpath;
  const args = ['ci', '--include=dev', '--no-fund', '--no-audit', '--loglevel=error'];
  const env = Object.fromEntries(
    // What an npm around this one has been told is about its own project; settings like the registry go on.
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
    throw new SetupError('npm ci failed (see above). When that is mended, the same command goes on from here.');
  }
  if (!isInstalled()) throw new SetupError('npm ci has not installed what package-lock.json names.');
}

function checkNode() {
  const own = at('node_modules', '.bin', process.platform === 'win32' ? 'node.cmd' : 'node');
  if (fs.existsSync(own)) return;
  if (isNodeAtLeast(rosterNodeMin)) return;
  throw new SetupError(
    `Node ${process.versions.node} is too old to run Roster, and npm has not installed the package \`node\` that brings a newer one ` +
      '(are install scripts switched off?): run `npm rebuild node`, or install Node 24.',
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

/** Over what is there, so that a server which runs from dist never misses a file. */
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
  if (code !== 0) throw new SetupError('the sources do not compile (see above).');
  const outputs = new Set(outputsOf(sources));
  for (const folder of sourceFolders()) {
    for (const file of listFiles(at('dist', folder))) {
      if (!outputs.has(file) && !outputs.has(file.replace(/\.(js\.map|d\.ts)$/, '.js'))) fs.rmSync(file);
    }
  }
  // Last, and of the sources as they were before: an edit meanwhile means another build.
  note({ fingerprint: before });
}

async function buildPage() {
  console.error('roster: building the page …');
  const before = pageFingerprint();
  note({ page: undefined });
  const vite = at('node_modules', 'vite', 'bin', 'vite.js');
  // Vite wants a newer Node than this setup does.
  const own = at('node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  const node = fs.existsSync(own) ? own : process.execPath;
  const code = await run(node, [vite, 'build', 'web', '--logLevel', 'warn']);
  if (code !== 0) throw new SetupError('the page cannot be built (see above).');
  const files = listFiles(at('dist', 'web')).map((file) => path.relative(at('dist', 'web'), file));
  note({ page: { fingerprint: before, files } });
}

function readNote() {
  return readJson(at('dist', '.setup.json')) ?? {};
}

/** What was built from what, each part by itself. */
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

/** The lock stands for the packages that are bundled; of src only little is, but it is not known here what. */
function pageFingerprint() {
  const folders = ['web', 'generated', 'src'].flatMap((name) => listFiles(at(name)).sort());
  return fingerprint([...folders, at('package-lock.json')]);
}

/** By content: a checkout changes times and not what is in the files. */
function fingerprint(files) {
  const hash = createHash('sha256');
  for (const file of files) {
    const content = fs.readFileSync(file);
    hash.update(`${path.relative(root, file)} ${content.length}\n`).update(content);
  }
  return hash.digest('hex');
}

function listFiles(folder) {
  if (!fs.existsSync(folder)) return [];
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

/** Runs a command with its output on stderr, because stdout belongs to the script that comes after this one. */
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
 * Makes two setups take turns. The one that waits takes the lock over when its owner is dead, or has not touched it for a
 * while: after a crash of the machine the owner's pid may belong to anybody.
 */
async function lock() {
  const file = at('.roster', 'setup.lock');
  fs.mkdirSync(path.dirname(file), { recursive: true });
  let seen;
  let since = Date.now();
  let told = false;
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
    if (!told && touched !== undefined) console.error(`roster: waiting for another setup (process ${pid}) …`);
    told = true;
    await new Promise((resolve) => setTimeout(resolve, 100));
    if (interrupted !== undefined) throw new SetupError('interrupted');
  }
}

/** Moved first and looked at second, so that of two who find it stale none removes the other's new lock. */
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
