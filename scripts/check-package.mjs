/**
 * Checks the packages that `npm run pack` makes, in empty projects as their users have them. A project with the client
 * compiles a program against its types, and runs it on the oldest Node that the client allows. A project with the service
 * serves a directory, which the client calls.
 *
 * It needs the package registry (or npm's cache) and dist from `npm run build`. The service uses DATABASE_URL, or the
 * embedded Postgres of this clone in a temporary folder.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

const root = path.resolve(import.meta.dirname, '..');
const temporary = fs.mkdtempSync(path.join(tmpdir(), 'roster-packages-'));
const serviceManifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
// For root, Postgres runs as another account, which must be able to enter the folder.
fs.chmodSync(temporary, 0o711);

// Bounds of what `npm install` of the client downloads. Half of the packages belong to a command line in @grpc/proto-loader,
// which grpc-js requires.
const clientPackagesMax = 50;
const clientMegabytesMax = 25;
// protobufjs only prints a warning there, and npm 12 does not run it.
const installScriptsAllowed = ['protobufjs'];

const program = `
import { type Client, createClient, Metadata, RosterError, type StatusName, type User } from '@roster-directory/client';

// @ts-expect-error: the fields of requests are typed.
const wrongRequest = (client: Client) => client.getUser({ id: 1 });
// @ts-expect-error: the client's options are typed.
const wrongOptions = () => createClient({ address: 1 });

const client = createClient({ address: process.argv[2], attemptsMax: 2 });
try {
  const email = 'ada@example.com';
  const created = await client.createUser({ user: { firstName: 'Ada', email } }, { metadata: Metadata() });
  const user: User | undefined = created.user;
  for await (const listed of client.listAllUsers({ query: 'ada' })) console.log(listed.email, listed.id === user?.id);
  await client.importAllUsers([{ firstName: 'Grace', email: 'grace@example.com' }]);
  for await (const exported of client.exportAllUsers()) console.log(exported.firstName);
  for await (const message of client.followUsers({ includeExisting: true })) {
    if (message.changes.length === 0) continue;
    console.log('followed');
    break;
  }
  await client.createUser({ user: { firstName: 'Ada', email } });
} catch (error) {
  if (!(error instanceof RosterError)) throw error;
  const code: StatusName = error.code;
  console.log(code, error.reason);
} finally {
  client.close();
}
`;

let service;
let embedded;
try {
  run('npm', ['run', '--silent', 'pack'], root);
  const clientProject = installed('client');
  checkClient(clientProject);
  const serviceProject = installed('roster');
  checkService(serviceProject);
  embedded = process.env.DATABASE_URL === undefined ? await startEmbedded() : undefined;
  service = await serve(serviceProject, embedded?.url ?? process.env.DATABASE_URL);
  callWithEachNode(clientProject, service.address);
} finally {
  service?.process.kill('SIGTERM');
  await service?.ended;
  await embedded?.stop();
  fs.rmSync(temporary, { recursive: true, force: true });
}

/** Creates an empty project, and installs a tarball there. */
function installed(name) {
  const project = path.join(temporary, name);
  fs.mkdirSync(project);
  fs.writeFileSync(path.join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  install(project, path.join(root, 'dist', 'packages', `${name}.tgz`));
  return project;
}

function install(project, ...packages) {
  run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error', ...packages], project);
}

/** The installed packages as npm's lock describes them, by name. */
function packagesIn(project) {
  const { packages } = JSON.parse(fs.readFileSync(path.join(project, 'package-lock.json'), 'utf8'));
  return new Map(
    Object.entries(packages)
      .filter(([place]) => place !== '')
      .map(([place, entry]) => [place.replace(/^.*node_modules\//, ''), entry]),
  );
}

/** The files of a package, without those of packages inside it. */
function filesOf(project, name) {
  return fs.readdirSync(path.join(project, 'node_modules', name), { recursive: true });
}

function sizeOf(folder) {
  const entries = fs.readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + fs.statSync(path.join(entry.parentPath, entry.name)).size, 0);
}

function checkClient(project) {
  const packages = packagesIn(project);
  const { dependencies } = packages.get('@roster-directory/client');
  const ofService = Object.keys(serviceManifest.dependencies).filter((name) => dependencies[name] === undefined);
  const unwanted = [...packages.keys()].filter((name) => ofService.includes(name));
  assert.deepEqual(unwanted, [], 'The client installs packages that only the service needs.');
  assert(packages.size <= clientPackagesMax, `The client installs ${packages.size} packages.`);
  checkScripts(packages);
  for (const name of packages.keys()) {
    const native = filesOf(project, name).filter((file) => /\.(node|gyp)$/.test(file));
    assert.deepEqual(native, [], `${name} has native code.`);
  }
  const megabytes = sizeOf(path.join(project, 'node_modules')) / 1e6;
  assert(megabytes <= clientMegabytesMax, `The client and its dependencies have ${megabytes} MB.`);
  const files = filesOf(project, '@roster-directory/client');
  for (const file of ['README.md', 'LICENSE', 'src/client/index.d.ts'])
    assert(files.includes(file), `${file} is missing.`);
  assert(!files.some((file) => /(?:^|\/)(?:profileservice|database|test)\b/.test(file)), 'The client has other files.');
  console.log(
    `The client has ${files.length} files. Installing it adds ${packages.size} packages and ${Math.round(megabytes)} MB.`,
  );

  fs.writeFileSync(path.join(project, 'program.ts'), program);
  const readme = fs.readFileSync(path.join(project, 'node_modules/@roster-directory/client/README.md'), 'utf8');
  fs.writeFileSync(path.join(project, 'readme.ts'), /```ts\n(.*?)```/s.exec(readme)[1]);
  const compilerOptions = { module: 'nodenext', moduleResolution: 'nodenext', target: 'es2022', strict: true };
  fs.writeFileSync(
    path.join(project, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: { ...compilerOptions, types: ['node'] }, files: ['program.ts', 'readme.ts'] }),
  );
  run(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc')], project);
}

function checkScripts(packages) {
  const scripted = [...packages].filter(([, entry]) => entry.hasInstallScript === true).map(([name]) => name);
  const unexpected = scripted.filter((name) => !installScriptsAllowed.includes(name));
  assert.deepEqual(unexpected, [], 'These packages run scripts while they are installed.');
}

function checkService(project) {
  const packages = packagesIn(project);
  checkScripts(packages);
  const development = Object.keys(serviceManifest.devDependencies);
  const unwanted = development.filter((name) => packages.has(name) && !name.startsWith('@types/'));
  assert.deepEqual(unwanted, [], 'Installing the service also installs packages of its development.');
  const files = filesOf(project, '@roster-directory/roster');
  for (const file of ['dist/web/index.html', 'proto/users/v1/user_service.proto', 'README.md', 'LICENSE']) {
    assert(files.includes(file), `${file} is missing.`);
  }
  assert(
    !files.some((file) => /\.(?:map|d\.ts)$|^(?:test|bench|scripts|\.roster)\b/.test(file)),
    'It has other files.',
  );
  console.log(`The service has ${files.length} files. Installing it adds ${packages.size} packages.`);
  assert.equal(run(rosterOf(project), ['--version'], project), `${serviceManifest.version}\n`);
}

function rosterOf(project) {
  return path.join(project, 'node_modules', '.bin', 'roster');
}

async function startEmbedded() {
  const { startEmbeddedPostgres } = await import('../dist/src/embedded-postgres/cluster.js');
  return await startEmbeddedPostgres({ dataDir: path.join(temporary, 'data') });
}

/** Starts the installed service, and resolves when it listens. */
async function serve(project, databaseUrl) {
  const { PATH, HOME } = process.env;
  const addresses = { GRPC_ADDRESS: 'localhost:0', HTTP_ADDRESS: 'localhost:0' };
  const started = spawn(rosterOf(project), ['serve'], {
    cwd: project,
    env: { PATH, HOME, ...addresses, LOG_FORMAT: 'json', DATABASE_URL: databaseUrl },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(started, 'exit');
  const lines = createInterface(started.stdout);
  const listening = new Promise((resolve) => {
    lines.on('line', (line) => {
      const entry = JSON.parse(line);
      if (entry.msg === 'listening') resolve(entry);
    });
  });
  const { address, http } = await Promise.race([listening, ended.then(() => ({}))]);
  assert(address !== undefined, 'The installed service did not start.');
  const page = await fetch(`http://${http}/`);
  assert.match(await page.text(), /<title>Roster<\/title>/);
  return { process: started, ended, address };
}

/** Runs the program on this Node, and on the oldest one of package.json. */
function callWithEachNode(project, address) {
  const manifest = path.join(project, 'node_modules/@roster-directory/client/package.json');
  const oldest = JSON.parse(fs.readFileSync(manifest, 'utf8')).engines.node.replace('>=', '');
  const name = `node-${process.platform}-${process.arch}`;
  const nodeProject = path.join(temporary, 'node');
  fs.mkdirSync(nodeProject);
  fs.writeFileSync(path.join(nodeProject, 'package.json'), '{}');
  // The package with the program itself, which needs no install script.
  install(nodeProject, `${name}@${oldest}`);
  const runs = [
    [path.join(nodeProject, 'node_modules', name, 'bin', 'node'), 'ada@example.com true\nAda\nGrace\nfollowed\n'],
    // Ada exists already.
    [process.execPath, ''],
  ];
  for (const [node, output] of runs) {
    const version = run(node, ['--version'], project).trim();
    assert.equal(run(node, ['program.js', address], project), `${output}ALREADY_EXISTS EMAIL_TAKEN\n`);
    console.log(`The client works on Node ${version}.`);
  }
}

function run(command, args, cwd) {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}
