/**
 * Creates the text of generated/openapi.json, which describes the calls as JSON: it runs protoc-gen-connect-openapi, which
 * needs Go, and corrects its output. It never changes a file.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const summary = `The calls of Roster as JSON over HTTP, in the Connect protocol. A call is a POST with the request as its body. \
A call without side effects can also be a GET with the request in the URL.

Field names are in lowerCamelCase, also in an update mask ("firstName,attributes.team"). Descriptions and filters use \
the contract's names (first_name). A response omits fields that are empty, 0 or false. 64-bit integers are strings.`;

const wellKnown = {
  'google.protobuf.FieldMask':
    'Paths in lowerCamelCase, separated by commas. "firstName,attributes.costCenter" means first_name and the attribute cost_center. A mask cannot name an attribute with capital letters; use all attributes instead.',
  'google.protobuf.Struct': 'Any JSON object.',
  'google.protobuf.Timestamp': 'RFC 3339. The server writes UTC: "2026-01-15T01:30:15.010Z".',
  'google.protobuf.Value': 'Any JSON value.',
};

/** Returns the document, or undefined if the generator cannot run; then prints the reason in one line. */
export function makeOpenapi() {
  const obstacle = findObstacle();
  if (obstacle !== undefined) {
    console.error(`generated/openapi.json was not generated: ${obstacle}`);
    return undefined;
  }
  const folder = mkdtempSync(join(tmpdir(), 'roster-openapi-'));
  try {
    execFileSync('buf', ['generate', '--template', 'scripts/openapi/buf.gen.yaml', '--output', folder], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const document = correctDocument(JSON.parse(readFileSync(join(folder, 'openapi.json'), 'utf8')));
    return `${JSON.stringify(document, null, 2)}\n`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Builds the generator if needed. Returns the reason if it cannot run. */
function findObstacle() {
  console.log('Building protoc-gen-connect-openapi with Go, which takes minutes the first time');
  try {
    execFileSync('go', ['-C', 'scripts/openapi', 'tool', '-n', 'protoc-gen-connect-openapi'], { stdio: 'pipe' });
    return undefined;
  } catch (error) {
    if (error.code === 'ENOENT') return 'Go is not installed';
    const [first = ''] = String(error.stderr)
      .split('\n')
      .filter((line) => !line.startsWith('go: downloading'));
    return `Go cannot build the generator (${first})`;
  }
}

function correctDocument(raw) {
  const { paths, streams } = splitPaths(raw.paths);
  const schemas = { ...raw.components.schemas, ...connectSchemas() };
  for (const [name, schema] of Object.entries(schemas)) correctSchema(name, schema);
  const document = {
    openapi: raw.openapi,
    info: {
      title: 'Roster',
      description: `${summary}\n\nThis document omits the streams: ${streams.join(', ')}.`,
      // The version of the contract, which a server release does not change.
      version: 'v1',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    tags: raw.tags,
    paths,
    components: { schemas: pickUsed(schemas, paths) },
  };
  return JSON.parse(JSON.stringify(document), correctText);
}

/** Removes the empty paths that the generator creates for streams. */
function splitPaths(all) {
  const paths = {};
  const streams = [];
  for (const [path, item] of Object.entries(all)) {
    const operations = Object.entries(item);
    if (operations.length === 0) streams.push(path.slice(path.lastIndexOf('/') + 1));
    else paths[path] = Object.fromEntries(operations.map(([method, each]) => [method, correctOperation(method, each)]));
  }
  return { paths, streams };
}

/**
 * Makes the protocol version optional, because a plain `curl -d '{}'` is a valid call. For a GET it keeps the version in the
 * query instead of a header, and removes base64 and compression, which are for messages that are not JSON.
 */
function correctOperation(method, operation) {
  const wanted = method === 'get' ? ['message', 'encoding', 'connect', 'Connect-Timeout-Ms'] : undefined;
  const parameters = operation.parameters
    .filter(({ name }) => wanted === undefined || wanted.includes(name))
    .map(({ required, ...parameter }) =>
      ['message', 'encoding'].includes(parameter.name) ? { ...parameter, required: true } : parameter,
    );
  // The only failure without a JSON body, because the protocol does not define its body.
  const responses = { ...operation.responses, 415: { description: 'The content type of the request is not JSON.' } };
  return { ...operation, parameters, responses };
}

/** Replaces the generator's schemas, which allow more than the protocol (https://connectrpc.com/docs/protocol). */
function connectSchemas() {
  return {
    'connect-protocol-version': { type: 'string', const: '1', description: "The Connect protocol's version." },
    // The protocol requires a positive integer of at most 10 digits.
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
      description: 'The error of a failed call. The code determines the HTTP status.',
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
          description: 'For people. Programs should use the code, and the reason in the details.',
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
        // It has no schema because its members depend on the type. It is missing if the gateway does not know the type.
        debug: { type: 'object', description: 'The same message as JSON.' },
      },
    },
  };
}

function correctSchema(name, schema) {
  // The original descriptions are long and describe messages that do not occur in JSON.
  if (name in wellKnown) schema.description = wellKnown[name];
  // A newer server may send more fields, and the server ignores unknown fields of requests.
  if (schema.additionalProperties === false) delete schema.additionalProperties;
  for (const property of Object.values(schema.properties ?? {})) {
    // Removes the field's contract name, which readers could take for its JSON name.
    delete property.title;
    // The server always writes strings. The generator also allows integers, and null for optional fields.
    if (property.format === 'int64') Object.assign(property, { type: 'string', pattern: '^-?[0-9]+$' });
  }
}

/** The schemas that calls use, in alphabetical order. The generator also outputs those of streams. */
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

/** Removes the leading space of comment lines, which Markdown could interpret. */
function correctText(key, value) {
  return key === 'description' && typeof value === 'string' ? value.replaceAll('\n ', '\n') : value;
}
