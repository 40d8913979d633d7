// Generates generated/openapi.json from the contract.
import { writeFileSync } from 'node:fs';
import { makeOpenapi } from './make.mjs';

const document = makeOpenapi();
if (document === undefined) process.exitCode = 1;
else {
  writeFileSync('generated/openapi.json', document);
  console.log('generated/openapi.json: the calls as JSON, as OpenAPI 3.1');
}
