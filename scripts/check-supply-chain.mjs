/**
 * Checks package-lock.json, the licences of what the service installs, and the list of these packages (SBOM). It needs no
 * network.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { createSbom } from './sbom.mjs';

const root = path.resolve(import.meta.dirname, '..');
const read = (file) => JSON.parse(readFileSync(path.join(root, file), 'utf8'));
const manifest = read('package.json');
const lock = read('package-lock.json');
const { '': own, ...entries } = lock.packages;

// Licences that only require their text to be kept.
const permissive = ['0BSD', 'Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'BlueOak-1.0.0', 'ISC', 'MIT', 'Python-2.0'];

checkManifest();
checkEntries();
checkLicences();
checkSbom();

function checkManifest() {
  for (const field of ['name', 'version', 'license', 'engines', 'bin', 'dependencies', 'devDependencies']) {
    assert.deepEqual(own[field], manifest[field], `package.json and package-lock.json have different ${field}.`);
  }
  for (const field of ['optionalDependencies', 'bundleDependencies', 'overrides', 'workspaces']) {
    assert.equal(manifest[field], undefined, `package.json has ${field}, which this check does not know.`);
  }
  const ranges = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies });
  const others = ranges.filter(([, range]) => !/^[\^~]?\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(range));
  assert.deepEqual(others, [], 'Dependencies must be versions of the registry, and no URLs, tags or other names.');
}

/** npm verifies the digest of each package, so the registry or a mirror cannot exchange it. */
function checkEntries() {
  assert.equal(lock.lockfileVersion, 3);
  const problems = Object.entries(entries).flatMap(([place, entry]) => {
    const { version, resolved, integrity, link, name, inBundle } = entry;
    const found = [];
    if (!/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? '')) found.push('has no SHA-512 digest');
    // .npmrc leaves out the address of the registry, and only that.
    if (resolved !== undefined) found.push(`comes from ${resolved}`);
    if (link || inBundle) found.push('is a link or in another package');
    if (name !== undefined) found.push(`is another package, ${name}`);
    if (!/^\d+\.\d+\.\d+/.test(version ?? '')) found.push('has no version');
    if (entry.hasInstallScript && manifest.allowScripts[nameOf(place)] === undefined) {
      found.push('runs a script when it is installed. Allow or forbid that in allowScripts of package.json');
    }
    return found.map((problem) => `${place} ${problem}.`);
  });
  assert.deepEqual(problems, []);
  console.log(`package-lock.json: ${Object.keys(entries).length} packages, each with a digest.`);
}

function runtimeEntries() {
  return Object.entries(entries).filter(([, { dev, devOptional }]) => !dev && !devOptional);
}

function nameOf(place) {
  return place.replace(/^.*node_modules\//, '');
}

function checkLicences() {
  const counts = new Map();
  for (const [place, { license }] of runtimeEntries()) {
    // An expression such as "(Apache-2.0 AND BSD-3-Clause)".
    const names = String(license).match(/[\w.-]+/g) ?? [];
    const isPermissive = names.every((name) => permissive.includes(name) || name === 'AND' || name === 'OR');
    assert(isPermissive, `${place} has the licence ${license}. Add it to this list if it is permissive.`);
    counts.set(license, (counts.get(license) ?? 0) + 1);
  }
  const list = [...counts].sort(([, a], [, b]) => b - a).map(([license, count]) => `${count} ${license}`);
  console.log(`Licences: ${list.join(', ')}.`);
}

function checkSbom() {
  const sbom = createSbom();
  assert.equal(sbom.bomFormat, 'CycloneDX');
  const listed = sbom.components.map(({ name, version }) => `${name}@${version}`);
  const installed = new Set(runtimeEntries().map(([place, { version }]) => `${nameOf(place)}@${version}`));
  assert.deepEqual([...listed].sort(), [...installed].sort(), 'The SBOM is not complete.');
  for (const { name, hashes, purl, licenses } of sbom.components) {
    assert(
      purl?.startsWith('pkg:npm/') && licenses?.length > 0,
      `${name} has no package URL or no licence in the SBOM.`,
    );
    assert(
      hashes?.some(({ alg }) => alg === 'SHA-512'),
      `${name} has no digest in the SBOM.`,
    );
  }
  console.log(`SBOM: ${listed.length} packages.`);
}
