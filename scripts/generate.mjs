// Generates generated/ from the contract. `npm run generate:openapi` creates the remaining file, generated/openapi.json.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

const openapiFile = 'generated/openapi.json';
// `clean` in buf.gen.yaml empties the folder.
const openapi = readFileSync(openapiFile, 'utf8');
try {
  step('messages, services and clients in TypeScript', ['generate']);
  step('descriptors for the gateway and reflection', ['build', '-o', 'generated/descriptors.binpb']);
} finally {
  writeFileSync(openapiFile, openapi);
}
console.log(`${openapiFile} was not regenerated. To regenerate it: npm run generate:openapi`);

function step(result, args) {
  console.log(`buf ${args.join(' ')}: ${result}`);
  execFileSync('buf', args, { stdio: ['ignore', 'inherit', 'inherit'] });
}
