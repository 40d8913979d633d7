// Generates generated/ from the contract. Without Go it keeps the existing openapi.json.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { makeOpenapi } from './openapi/make.mjs';

const buf = (...args) => execFileSync('buf', args, { stdio: ['ignore', 'inherit', 'inherit'] });

// Runs first because `clean` in buf.gen.yaml empties the folder.
const openapi = makeOpenapi() ?? readFileSync('generated/openapi.json', 'utf8');
try {
  buf('generate');
  buf('build', '-o', 'generated/descriptors.binpb');
} finally {
  writeFileSync('generated/openapi.json', openapi);
}
