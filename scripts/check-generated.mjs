// Compares generated/ with the output of `npm run generate` and `npm run generate:openapi`, without changing it.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { makeOpenapi } from './openapi/make.mjs';

const temporary = mkdtempSync(join(tmpdir(), 'roster-generated-'));
try {
  const buf = (...args) => execFileSync('buf', args, { stdio: ['ignore', 'inherit', 'inherit'] });
  // `out: generated` in buf.gen.yaml is relative to --output.
  buf('generate', '--output', temporary);
  const output = join(temporary, 'generated');
  buf('build', '-o', join(output, 'descriptors.binpb'));

  const committed = resolve('generated');
  // Without Go this file is not compared; test/gateway/openapi.test.ts checks it against the descriptors.
  writeFileSync(join(output, 'openapi.json'), makeOpenapi() ?? readFileSync(join(committed, 'openapi.json')));
  const files = new Set([output, committed].flatMap((folder) => filesBelow(folder)));
  const stale = [...files].sort().filter((file) => !isSame(join(output, file), join(committed, file)));
  if (stale.length > 0) {
    const command = stale.some((file) => file !== 'openapi.json') ? 'generate' : 'generate:openapi';
    console.error(`generated/ does not match the contract: ${stale.join(', ')}\nRun: npm run ${command}`);
    process.exitCode = 1;
  }
} finally {
  rmSync(temporary, { recursive: true, force: true });
}

function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

function isSame(a, b) {
  return existsSync(a) && existsSync(b) && readFileSync(a).equals(readFileSync(b));
}
