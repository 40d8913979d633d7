/**
 * Generates generated/ from the contract. `npm run generate:openapi` creates the remaining file, generated/openapi.json.
 *
 * It generates into a temporary folder and writes only files that differ, so that a contract with errors changes nothing, and
 * `npm run dev` sees no half-written folder.
 */
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const openapi = 'openapi.json';
const temporary = fs.mkdtempSync(path.join(tmpdir(), 'roster-generated-'));
// `out: generated` in buf.gen.yaml is relative to --output.
const output = path.join(temporary, 'generated');
try {
  step('messages, services and clients in TypeScript', ['generate', '--output', temporary]);
  step('descriptors for the gateway and reflection', ['build', '-o', path.join(output, 'descriptors.binpb')]);
  replace('generated', output);
} catch (error) {
  // buf has printed the errors of the contract.
  if (error.status === undefined) throw error;
  process.exitCode = 1;
} finally {
  fs.rmSync(temporary, { recursive: true, force: true });
}

function step(result, args) {
  console.log(`buf ${args[0]}: ${result}`);
  execFileSync('buf', args, { stdio: ['ignore', 'inherit', 'inherit'] });
}

function replace(folder, from) {
  const files = filesBelow(from);
  for (const file of filesBelow(folder)) {
    if (!files.includes(file) && file !== openapi) fs.rmSync(path.join(folder, file));
  }
  for (const file of files) {
    const [source, target] = [path.join(from, file), path.join(folder, file)];
    if (fs.existsSync(target) && fs.readFileSync(source).equals(fs.readFileSync(target))) continue;
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.copyFileSync(source, target);
    console.log(`changed ${target}`);
  }
  console.log(`${path.join(folder, openapi)} was not regenerated. To regenerate it: npm run generate:openapi`);
}

function filesBelow(folder) {
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)));
}
