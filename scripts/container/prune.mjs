/**
 * Deletes what a server never reads from a folder with `node_modules` and `dist`: types, source maps, sources, tests and
 * documentation of packages, and builds for browsers. Licences stay.
 *
 * Usage: node prune.mjs FOLDER
 */
import * as fs from 'node:fs';
import path from 'node:path';

const unusedFiles = /(?:\.map|\.ts|\.mts|\.cts|\.tsbuildinfo|\.md|\.markdown|\.flow)$|^\./i;
const licences = /^(?:licen[cs]e|notice|copying)/i;
// Only directly in a package's folder, because a folder with one of these names further down may be code.
const unusedFolders =
  /^(?:tests?|__tests__|examples?|bench|benchmarks?|docs?|coverage|umd|\.github|\.vscode|\.idea|browser)$/;
/** Large folders with other names, which no import of a server leads to. */
const unusedPaths = [
  // Zod's TypeScript sources.
  'zod/src',
  // Builds for browsers and bundlers.
  'csv-parse/dist/iife',
  'csv-parse/dist/umd',
  'csv-stringify/dist/iife',
  'csv-stringify/dist/umd',
];

/** The folders of packages below a `node_modules`, including nested ones. */
function* packagesIn(modules) {
  for (const { name } of fs.readdirSync(modules, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
    const folder = path.join(modules, name);
    if (name.startsWith('@')) yield* packagesIn(folder);
    else if (!name.startsWith('.')) {
      yield folder;
      const nested = path.join(folder, 'node_modules');
      if (fs.existsSync(nested)) yield* packagesIn(nested);
    }
  }
}

/** Deletes unused files, and folders that are empty afterwards. */
function pruneFiles(folder) {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory()) pruneFiles(name);
    else if (unusedFiles.test(entry.name) && !licences.test(entry.name)) fs.rmSync(name);
  }
  if (fs.readdirSync(folder).length === 0) fs.rmdirSync(folder);
}

const [root] = process.argv.slice(2);
if (root === undefined) throw new Error('Usage: node prune.mjs FOLDER');
const modules = path.join(root, 'node_modules');
// npm's links to command lines of packages.
fs.rmSync(path.join(modules, '.bin'), { recursive: true, force: true });
for (const unused of unusedPaths) fs.rmSync(path.join(modules, unused), { recursive: true, force: true });
for (const folder of packagesIn(modules)) {
  for (const name of fs.readdirSync(folder)) {
    if (unusedFolders.test(name)) fs.rmSync(path.join(folder, name), { recursive: true });
  }
}
pruneFiles(modules);
pruneFiles(path.join(root, 'dist'));
