/** Lists the packages that the service installs, as CycloneDX: those of package-lock.json without the ones of its development. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');

export function createSbom() {
  // npm leaves packages out of the list if development packages also need them, so it must not know of those.
  const { devDependencies: _, ...manifest } = read('package.json');
  const lock = read('package-lock.json');
  delete lock.packages[''].devDependencies;
  const entries = Object.entries(lock.packages).filter(([, { dev, devOptional }]) => !dev && !devOptional);
  const folder = mkdtempSync(path.join(tmpdir(), 'roster-sbom-'));
  try {
    write(folder, 'package.json', manifest);
    write(folder, 'package-lock.json', { ...lock, packages: Object.fromEntries(entries) });
    const args = ['sbom', '--sbom-format=cyclonedx', '--package-lock-only'];
    const sbom = JSON.parse(execFileSync('npm', args, { cwd: folder, encoding: 'utf8' }));
    // npm takes the name of the folder.
    sbom.metadata.component.name = manifest.name;
    return sbom;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function read(file) {
  return JSON.parse(readFileSync(path.join(root, file), 'utf8'));
}

function write(folder, file, content) {
  writeFileSync(path.join(folder, file), JSON.stringify(content));
}
