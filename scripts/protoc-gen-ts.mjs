#!/usr/bin/env node
// The code generator of `npm run generate`: runs ts-proto, and changes its output so that __proto__ is an ordinary key of a map.
// ts-proto assigns to object[key], which sets the prototype for this key (docs/decisions/0011-proto-is-an-ordinary-key.md).
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { CodeGeneratorResponseSchema } from '@bufbuild/protobuf/wkt';

const setOwn = `
function setOwn(object: { [key: string]: any }, key: string, value: any): void {
  if (key === "__proto__") {
    globalThis.Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
  } else {
    object[key] = value;
  }
}
`;
const assignment = /^( *)([\w.]+)\[([\w.]+)\] = (.+);$/gm;
// The assignments in ts-proto's google/protobuf/struct.ts. If their number changes, check this script.
const assignmentsExpected = 4;

const tsProto = createRequire(import.meta.url).resolve('ts-proto/protoc-gen-ts_proto');
const output = execFileSync(process.execPath, [tsProto], { input: readFileSync(0), maxBuffer: 64 * 1024 * 1024 });
const response = fromBinary(CodeGeneratorResponseSchema, output);
let assignments = 0;
for (const file of response.file) {
  const found = file.content.match(assignment)?.length ?? 0;
  if (found > 0) file.content = file.content.replaceAll(assignment, '$1setOwn($2, $3, $4);') + setOwn;
  assignments += found;
}
if (response.error === '' && assignments !== assignmentsExpected) {
  response.error = `scripts/protoc-gen-ts.mjs expected ${assignmentsExpected} assignments to keys, but found ${assignments}.`;
}
process.stdout.write(toBinary(CodeGeneratorResponseSchema, response));
