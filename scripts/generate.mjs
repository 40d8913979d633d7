// Makes generated/ of the contract. What it cannot make here, for want of Go, it leaves as it was.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { makeOpenapi } from './openapi/make.mjs';

const buf = (...args) => execFileSync('buf', args, { stdio: ['ignore', 'inherit', 'inherit'] });

// First, because `clean` in buf.gen.yaml empties the folder.
const openapi = makeOpenapi() ?? readFileSync('generated/openapi.json', 'utf8');
try {
  buf('generate');
  buf('build', '-o', 'generated/descriptors.binpb');
} finally {
  writeFileSync('generated/openapi.json', openapi);
}
