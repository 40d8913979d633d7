/**
 * Packs the service and the client into dist/packages/roster.tgz and client.tgz, which `npm install` accepts, and lists the
 * packages that the service installs in sbom.cdx.json.
 *
 * The client is a package of its own, because the service's package installs a database driver, an ORM and a web server.
 * Its files are those that src/client/index.ts imports, and its dependencies those that these files import, in the ranges
 * of package.json.
 */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';
import { createSbom } from './sbom.mjs';

const root = path.resolve(import.meta.dirname, '..');
const packages = path.join(root, 'dist', 'packages');
const client = path.join(packages, 'client');
const service = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));

fs.rmSync(packages, { recursive: true, force: true });
const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
execFileSync(process.execPath, [tsc, '-p', 'tsconfig.client.json'], { cwd: root, stdio: 'inherit' });
fs.writeFileSync(path.join(client, 'package.json'), `${JSON.stringify(clientManifest(), undefined, 2)}\n`);
fs.copyFileSync(path.join(root, 'scripts', 'client', 'README.md'), path.join(client, 'README.md'));
fs.copyFileSync(path.join(root, 'LICENSE'), path.join(client, 'LICENSE'));
pack(root, 'roster.tgz');
pack(client, 'client.tgz');
const sbom = createSbom();
fs.writeFileSync(path.join(packages, 'sbom.cdx.json'), `${JSON.stringify(sbom, undefined, 2)}\n`);
console.log(`dist/packages/sbom.cdx.json: ${sbom.components.length} packages`);

function clientManifest() {
  const { version, license } = service;
  return {
    name: '@roster-directory/client',
    version,
    description: 'The typed client of Roster, a user directory as a gRPC service',
    license,
    // As in the service's package: no registry accepts it by mistake.
    private: true,
    type: 'module',
    engines: { node: '>=20.17' },
    exports: {
      '.': { types: './src/client/index.d.ts', default: './src/client/index.js' },
      './package.json': './package.json',
    },
    dependencies: Object.fromEntries(importedPackages().map((name) => [name, rangeOf(name)])),
  };
}

/** The packages that the compiled files and their types import. */
function importedPackages() {
  const names = fs
    .readdirSync(client, { recursive: true })
    .filter((file) => /\.[jt]s$/.test(file))
    .flatMap((file) => [
      ...fs.readFileSync(path.join(client, file), 'utf8').matchAll(/(?:\bfrom|\bimport\(?) ?["']([^."'][^"']*)["']/g),
    ])
    .map(([, specifier]) => /^(?:@[^/]+\/)?[^/]+/.exec(specifier)[0])
    .filter((name) => !name.startsWith('node:') && !builtinModules.includes(name));
  return [...new Set(names)].sort();
}

function rangeOf(name) {
  const range = service.dependencies[name];
  if (range === undefined) throw new Error(`The client imports ${name}, which is not a dependency in package.json.`);
  return range;
}

/** npm names a tarball after the version. A fixed name suits commands in the docs. */
function pack(folder, name) {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', packages, folder];
  const output = execFileSync('npm', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  const [{ filename, files, size }] = Object.values(JSON.parse(output));
  fs.renameSync(path.join(packages, filename), path.join(packages, name));
  console.log(`dist/packages/${name}: ${files.length} files, ${Math.ceil(size / 1024)} kB`);
}
