/**
 * Makes the OpenAPI document of the calls that a program can send as JSON, as generated/openapi.json has it: by
 * protoc-gen-connect-openapi, and then mended where that says what is not so. It must never change a file, and never
 * make a missing Go an error: who only runs or tests Roster has none.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const summary = `The calls of Roster that a program can send as JSON over HTTP, by the Connect protocol. A call is a POST of its request; \
one without side effects is also a GET with the request in the URL.

Fields have their names in lowerCamelCase, also in the mask of an update ("firstName,attributes.team"); descriptions \
and filters use the contract's names (first_name). A response leaves out what is empty, 0 or false. Integers of 64 bits are strings.`;

const wellKnown = {
  'google.protobuf.FieldMask':
    'Paths in lowerCamelCase, separated by commas. "firstName,attributes.costCenter" names first_name and the key cost_center: one with capitals of its own cannot be named, only all attributes.',
  'google.protobuf.Struct': 'Any JSON object.',
  'google.protobuf.Timestamp': 'RFC 3339, in UTC where the server writes it: "2026-01-15T01:30:15.010Z".',
  'google.protobuf.Value': 'Any JSON value.',
};

/** The document's text, or undefined where it cannot be made here; says why, in one line. */
export function makeOpenapi() {
  const lack = findLack();
  if (lack !== undefined) {
    console.error(`generated/openapi.json is taken as it is: ${lack}`);
    return undefined;
  }
  const folder = mkdtempSync(join(tmpdir(), 'roster-openapi-'));
  try {
    execFileSync('buf', ['generate', '--template', 'scripts/openapi/buf.gen.yaml', '--output', folder], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const document = mend(JSON.parse(readFileSync(join(folder, 'openapi.json'), 'utf8')));
    return `${JSON.stringify(document, null, 2)}\n`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Why the generator cannot run, after building it where that was not done yet (minutes, the first time). */
function findLack() {
  try {
    execFileSync('go', ['-C', 'scripts/openapi', 'tool', '-n', 'protoc-gen-connect-openapi'], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    if (error.code === 'ENOENT') return 'Go is not installed';
    const [first = ''] = String(error.stderr)
      .split('\n')
      .filter((line) => !line.startsWith('go: downloading'));
    return `Go cannot build its generator (${first})`;
  }
}

function mend(raw) {
  const { paths, streams } = splitPaths(raw.paths);
  const schemas = { ...raw.components.schemas, ...connectSchemas() };
  for (const [name, schema] of Object.entries(schemas)) mendSchema(name, schema);
  const document = {
    openapi: raw.openapi,
    info: {
      title: 'Roster',
      description: `${summary}\n\nNot here, because they are streams: ${streams.join(', ')}.`,
      // The contract's: a release of the server changes nothing here.
      version: 'v1',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    tags: raw.tags,
    paths,
    components: { schemas: pickUsed(schemas, paths) },
  };
  return JSON.parse(JSON.stringify(document), mendText);
}

/** The generator leaves an empty path for each stream, which promises nothing and looks like a fault. */
function splitPaths(all) {
  const paths = {};
  const streams = [];
  for (const [path, item] of Object.entries(all)) {
    const operations = Object.entries(item);
    if (operations.length === 0) streams.push(path.slice(path.lastIndexOf('/') + 1));
    else paths[path] = Object.fromEntries(operations.map(([method, it]) => [method, mendOperation(method, it)]));
  }
  return { paths, streams };
}

/**
 * A plain `curl -d '{}'` is a good call, so the protocol's version is optional; a GET has it in its query and not in a
 * header. Its request is never base64 or compressed here: that is for messages that are not JSON.
 */
function mendOperation(method, operation) {
  const wanted = method === 'get' ? ['message', 'encoding', 'connect', 'Connect-Timeout-Ms'] : undefined;
  const parameters = operation.parameters
    .filter(({ name }) => wanted === undefined || wanted.includes(name))
    .map(({ required, ...parameter }) =>
      ['message', 'encoding'].includes(parameter.name) ? { ...parameter, required: true } : parameter,
    );
  // The one failure of a known path that comes with no JSON: the protocol leaves its body open.
  const responses = { ...operation.responses, 415: { description: 'The request is not said to be JSON.' } };
  return { ...operation, parameters, responses };
}

/** In place of the generator's own, which are looser than the protocol (https://connectrpc.com/docs/protocol). */
function connectSchemas() {
  return {
    'connect-protocol-version': { type: 'string', const: '1', description: "The Connect protocol's version." },
    // Positive and at most 10 digits, as the protocol has it.
    'connect-timeout-header': {
      type: 'integer',
      minimum: 1,
      maximum: 9_999_999_999,
      description: "The call's deadline, in milliseconds from now.",
    },
    connect: { type: 'string', const: 'v1', description: "The Connect protocol's version." },
    encoding: { type: 'string', const: 'json' },
    'connect.error': {
      type: 'object',
      description: 'What a call that failed comes with; the HTTP status follows from the code.',
      required: ['code'],
      properties: {
        code: {
          type: 'string',
          enum: [
            'canceled',
            'unknown',
            'invalid_argument',
            'deadline_exceeded',
            'not_found',
            'already_exists',
            'permission_denied',
            'resource_exhausted',
            'failed_precondition',
            'aborted',
            'out_of_range',
            'unimplemented',
            'internal',
            'unavailable',
            'data_loss',
            'unauthenticated',
          ],
        },
        message: {
          type: 'string',
          description: 'For people. Programs go by the code and by the reason in the details.',
        },
        details: { type: 'array', items: { $ref: '#/components/schemas/connect.error_detail' } },
      },
    },
    'connect.error_detail': {
      type: 'object',
      required: ['type', 'value'],
      properties: {
        type: { type: 'string', examples: ['google.rpc.ErrorInfo', 'google.rpc.BadRequest'] },
        value: {
          type: 'string',
          contentEncoding: 'base64',
          description: 'The protobuf message, in base64 without padding.',
        },
        // Its members differ by type, so there is no schema; a type that the gateway does not know comes without it.
        debug: { type: 'object', description: 'The same message as JSON.' },
      },
    },
  };
}

function mendSchema(name, schema) {
  // Pages of general prose, about messages that JSON never shows.
  if (name in wellKnown) schema.description = wellKnown[name];
  // A newer server may send more fields, and a request's unknown ones are ignored.
  if (schema.additionalProperties === false) delete schema.additionalProperties;
  for (const property of Object.values(schema.properties ?? {})) {
    // The field's name in the contract, which a reader would take for its name in JSON.
    delete property.title;
    // Written as strings always; the generator also says integer, and null for an optional one, which is left out instead.
    if (property.format === 'int64') Object.assign(property, { type: 'string', pattern: '^-?[0-9]+$' });
  }
}

/** The schemas that calls reach, in order: those of streams come out of the generator as well. */
function pickUsed(schemas, paths) {
  const used = new Set();
  const visit = (part) => {
    for (const [, name] of JSON.stringify(part).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (used.has(name)) continue;
      used.add(name);
      visit(schemas[name]);
    }
  };
  visit(paths);
  return Object.fromEntries([...used].sort().map((name) => [name, schemas[name]]));
}

/** A comment's lines after the first one keep the blank behind their slashes, which Markdown may take for something. */
function mendText(key, value) {
  return key === 'description' && typeof value === 'string' ? value.replaceAll('\n ', '\n') : value;
}
