/**
 * npm run dev: serves Roster from the sources, and applies each change when a file is saved. A change in proto/ generates
 * code, and a change in src/ compiles it and restarts the server. Vite serves the page and replaces changed parts of it in
 * the browser.
 *
 * This process owns the embedded Postgres, which keeps running while the server restarts. If a change has an error, the server
 * continues with the code before it.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { styleText } from 'node:util';
import { createLogger, createServer } from 'vite';
import { compile, generate, output, stopBuilding } from './build.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const sources = ['src', 'generated', 'migrations', 'bench', 'scripts'].map((name) => path.join(root, name));
const contract = path.join(root, 'proto');

// An editor may write several files, or one file in several steps.
const settleMs = 50;
// For calls that do not end by themselves.
const shutdownMs = '500';

// Always set for the server, so that it reports an address that is in use. By default, it would continue without HTTP.
const httpAddress = process.env.HTTP_ADDRESS || 'localhost:8080';
const httpUrl = `${process.env.TLS_CERT ? 'https' : 'http'}://${httpAddress}/`;
// The page sends these requests to the server. The pattern must not match web/metrics/metrics.ts or web/sign-in.tsx.
const apiPattern = '^/(?:users\\.v1\\.|(?:metrics|healthz|readyz(?:/writes)?|(?:openapi|sign-in)\\.json)(?:\\?|$))';

const startedAtMs = performance.now();
const changed = { contract: false, sources: true };
let isWorking = false;
let isStopping = false;
let isGreeted = false;
let settings;
let postgres;
let server;
let next = prepareServer();
let vite;

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => void stop(0));
endWithParent();
try {
  vite = await startVite();
  await work();
} catch (error) {
  console.error(error);
  await stop(1);
}

/** Applies all changes, also those that arrive meanwhile. */
async function work() {
  if (isWorking) return;
  isWorking = true;
  while ((changed.contract || changed.sources) && !isStopping) {
    await sleep(settleMs);
    const beganAtMs = performance.now();
    const isContract = changed.contract;
    Object.assign(changed, { contract: false, sources: false });
    try {
      await apply(isContract, beganAtMs);
    } catch (error) {
      say('red', error.message);
    }
  }
  isWorking = false;
}

async function apply(isContract, beganAtMs) {
  if (isContract && !(await generate())) return say('red', 'The contract has errors. Waiting for a change …');
  const { isCompiled, isChanged } = await compile();
  if (isStopping) return;
  if (!isCompiled) {
    const rest = server === undefined ? '' : ' The server continues with the code before the change.';
    return say('red', `The sources have errors.${rest} Waiting for a change …`);
  }
  if (server !== undefined && !isChanged && !isContract) return;
  settings ??= await prepare().catch((error) => {
    // Such as an invalid variable, which no change of a file repairs.
    console.error(`error: ${error.message}`);
    return stop(1);
  });
  await postgres?.ensureRunning();
  await server?.stop();
  if (isStopping) return;
  // It can end earlier, for example because npm install has replaced packages while it loaded them.
  if (next.hasExited()) next = prepareServer();
  server = next;
  const isServing = await server.start();
  if (isStopping) return;
  next = prepareServer();
  if (!isServing) return;
  if (!isGreeted) greet();
  else say('green', `Restarted in ${seconds(beganAtMs)}.`);
}

/** Reads the settings, and starts the embedded Postgres unless another database is set. */
async function prepare() {
  const load = (name) => import(pathToFileURL(path.join(output, 'src', name)).href);
  const [{ parseServerConfig }, { formatAddress }, { startEmbeddedPostgres }] = await Promise.all([
    load('config/parse.js'),
    load('net/address.js'),
    load('embedded-postgres/cluster.js'),
  ]);
  const config = parseServerConfig(process.env, {});
  if (config.database.url === undefined) {
    const log = (message) => say('dim', message);
    postgres = await startEmbeddedPostgres({ dataDir: config.database.dataDir, log });
  }
  return { grpc: formatAddress(config.grpc.address) };
}

/** Forks the process of a server, which loads its packages and then waits for start(). */
function prepareServer() {
  const child = fork(path.join(import.meta.dirname, 'server.mjs'), [output], {
    cwd: root,
    execArgv: ['--enable-source-maps'],
    env: { SHUTDOWN_TIMEOUT_MS: shutdownMs, ...process.env, LOG_FORMAT: 'pretty', HTTP_ADDRESS: httpAddress },
    // Ctrl-C reaches the process group of this process, which stops the server and then the database.
    detached: true,
  });
  const exited = once(child, 'exit');
  let isWanted = true;
  void exited.then(([code, signal]) => {
    if (!isWanted || server !== prepared) return;
    say('red', `The server has exited (${signal ?? `code ${code}`}). Save a file to start it again.`);
    server = undefined;
  });
  const prepared = {
    hasExited: () => child.exitCode !== null || child.signalCode !== null,
    /** Resolves with whether it serves. */
    async start() {
      const isServing = Promise.race([once(child, 'message').then(() => true), exited.then(() => false)]);
      // If it exits now, `exited` says so. Without the callback, the failed message would be an uncaught error.
      child.send({ DATABASE_URL: postgres?.url ?? process.env.DATABASE_URL }, () => {});
      return await isServing;
    },
    async stop(signal = 'SIGTERM') {
      isWanted = false;
      child.kill(signal);
      await exited;
    },
  };
  return prepared;
}

async function startVite() {
  const logger = createLogger('info', { allowClearScreen: false });
  const server = await createServer({
    configFile: path.join(root, 'web/vite.config.ts'),
    clearScreen: false,
    cacheDir: path.join(root, '.roster/vite'),
    server: { proxy: { [apiPattern]: { target: httpUrl, secure: false } } },
    customLogger: {
      ...logger,
      // While the server restarts, the page's calls fail, and the page repeats them.
      error: (message, options) => message.includes('http proxy error') || logger.error(message, options),
    },
    plugins: [
      {
        name: 'roster-watch',
        // Vite calls it again if its configuration changes.
        configureServer({ watcher }) {
          watcher.add([...sources, contract]);
          watcher.on('all', (_event, file) => onChange(file));
        },
      },
    ],
  });
  return await server.listen();
}

function onChange(file) {
  const isIn = (folder) => file.startsWith(`${folder}${path.sep}`);
  if (isIn(contract) && file.endsWith('.proto')) changed.contract = true;
  else if (sources.some(isIn) && file.endsWith('.ts')) changed.sources = true;
  else return;
  void work();
}

function greet() {
  isGreeted = true;
  const line = (name, address, note) =>
    `  ${styleText('green', '➜')}  ${styleText('bold', name.padEnd(5))} ${styleText('cyan', address)}  ${styleText('dim', note)}`;
  const lines = [
    '',
    `  ${styleText(['bold', 'green'], 'ROSTER')} ${styleText('dim', `ready in ${seconds(startedAtMs)}`)}`,
    '',
    line('Page', vite.resolvedUrls.local[0], 'with hot reload'),
    line('gRPC', settings.grpc, ''),
    line('HTTP', httpUrl, 'JSON, Connect, gRPC-Web, metrics'),
    line('Data', postgres?.dataDir ?? 'DATABASE_URL', postgres === undefined ? '' : 'embedded Postgres'),
    '',
    styleText('dim', '  Changes in src/, proto/ and web/ apply when you save them. Ctrl-C stops everything.'),
    '',
  ];
  console.log(lines.map((text) => text.trimEnd()).join('\n'));
}

function say(colour, message) {
  const time = styleText('dim', new Date().toLocaleTimeString());
  console.log(`${time} ${styleText(['bold', 'cyan'], '[roster]')} ${styleText(colour, message)}`);
}

function seconds(sinceMs) {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;
}

/** Stops the server, then the database. A second call does not wait. */
async function stop(exitCode) {
  if (isStopping) {
    void server?.stop('SIGKILL');
    process.exit(exitCode);
  }
  isStopping = true;
  stopBuilding();
  try {
    await Promise.all([server?.stop(), next.stop('SIGKILL'), vite?.close()]);
    await postgres?.stop();
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
  process.exit(exitCode);
}

/** Checks once a second whether npm has ended, because npm sends SIGTERM only to the shell between itself and this process. */
function endWithParent() {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) void stop(0);
  }, 1000).unref();
}
