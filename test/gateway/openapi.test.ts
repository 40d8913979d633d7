/** Compares generated/openapi.json with the contract's descriptors, without the generator. */
import { readFileSync } from 'node:fs';
import { createFileRegistry, type DescEnum, type DescMessage, fromBinary, ScalarType } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema, MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';

interface Schema {
  readonly type?: string;
  readonly format?: string;
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly $ref?: string;
}
interface Content {
  readonly content: Readonly<Record<string, { readonly schema: Schema }>>;
}
interface Operation {
  readonly operationId: string;
  readonly parameters: readonly (Partial<Content> & { readonly name: string; readonly required?: boolean })[];
  readonly requestBody?: Content;
  readonly responses: Readonly<Record<string, Content>>;
}
interface Document {
  readonly openapi: string;
  readonly info: Readonly<Record<'title' | 'description' | 'version', string>>;
  readonly servers: readonly { readonly url: string }[];
  readonly paths: Readonly<Record<string, { readonly get?: Operation; readonly post?: Operation }>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

const read = (name: string) => readFileSync(new URL(`../../generated/${name}`, import.meta.url));
const text = read('openapi.json').toString();
const document: Document = JSON.parse(text);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, read('descriptors.binpb')));

const methods = [...registry]
  .flatMap((type) => (type.kind === 'service' ? type.methods : []))
  .map((method) => ({ ...method, path: `/${method.parent.typeName}/${method.name}` }));
const unary = methods.filter((method) => method.methodKind === 'unary');
const streams = methods.filter((method) => method.methodKind !== 'unary');
const schemas = document.components.schemas;
const refOf = (message: DescMessage | DescEnum) => ({ $ref: `#/components/schemas/${message.typeName}` });

/** The types that the contract uses so far. */
const jsonTypes = new Map<ScalarType, string>([
  [ScalarType.STRING, 'string'],
  [ScalarType.BOOL, 'boolean'],
  [ScalarType.INT32, 'integer'],
  [ScalarType.INT64, 'string'],
]);

/** Our messages that unary calls use. The JSON of Google's messages does not show their fields. */
function reached(): ReadonlySet<DescMessage> {
  const found = new Set<DescMessage>();
  const visit = (message: DescMessage | undefined) => {
    if (message === undefined || found.has(message) || message.typeName.startsWith('google.')) return;
    found.add(message);
    for (const field of message.fields) visit(field.message);
  };
  for (const { input, output } of unary) for (const message of [input, output]) visit(message);
  return found;
}

describe('the OpenAPI document', () => {
  it('names the API, and no server address', () => {
    expect(document).toMatchObject({
      openapi: '3.1.0',
      info: { title: 'Roster', version: 'v1', license: { name: 'MIT' } },
      servers: [{ url: '/' }],
    });
  });

  it('has each unary method as a POST of JSON, those without side effects also as a GET, and no other path', () => {
    expect(unary.length).toBeGreaterThan(8);
    expect(Object.keys(document.paths).sort()).toEqual(unary.map(({ path }) => path).sort());
    for (const { path, input, output, idempotency } of unary) {
      const { get, post } = document.paths[path] ?? {};
      const json = (message: DescMessage) => ({ content: { 'application/json': { schema: refOf(message) } } });
      const responses = {
        200: json(output),
        default: { content: { 'application/json': { schema: { $ref: '#/components/schemas/connect.error' } } } },
      };
      expect(post, path).toMatchObject({ requestBody: { required: true, ...json(input) }, responses });
      if (idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS) {
        expect(get, path).toMatchObject({ responses });
        const required = get?.parameters.filter((parameter) => parameter.required);
        expect(required, path).toMatchObject([{ name: 'message', ...json(input) }, { name: 'encoding' }]);
      } else {
        expect(get, path).toBeUndefined();
      }
      // `curl` sends no such parameter by itself.
      expect(post?.parameters.filter((parameter) => parameter.required)).toEqual([]);
    }
  });

  it('has no streams, and its description names the calls that it omits', () => {
    expect(streams.length).toBeGreaterThan(0);
    for (const { path, name, output } of streams) {
      expect(document.paths).not.toHaveProperty([path]);
      expect(schemas).not.toHaveProperty([output.typeName]);
      expect(document.info.description).toContain(name);
    }
  });

  it('has the names and types of fields in JSON', () => {
    for (const message of reached()) {
      const properties = schemas[message.typeName]?.properties ?? {};
      expect(Object.keys(properties).sort(), message.typeName).toEqual(message.fields.map((it) => it.jsonName).sort());
      for (const field of message.fields) {
        const property = properties[field.jsonName];
        const single = field.fieldKind === 'list' ? property?.items : property;
        const where = `${message.typeName}.${field.name}`;
        if (field.fieldKind === 'list') expect(property?.type, where).toBe('array');
        if (field.message !== undefined) expect(single, where).toMatchObject(refOf(field.message));
        else if (field.enum !== undefined) {
          expect(single, where).toMatchObject(refOf(field.enum));
          const names = field.enum.values.map((value) => value.name);
          expect(schemas[field.enum.typeName], where).toMatchObject({ type: 'string', enum: names });
        }
        // For a map or another scalar, add a line here and check the document.
        else expect(single?.type, where).toBe(field.scalar === undefined ? 'unknown' : jsonTypes.get(field.scalar));
      }
    }
  });

  it('has the JSON types of well-known types', () => {
    expect(schemas).toMatchObject({
      'google.protobuf.Timestamp': { type: 'string', format: 'date-time' },
      'google.protobuf.FieldMask': { type: 'string' },
      'google.protobuf.Struct': { type: 'object', additionalProperties: expect.anything() },
    });
  });

  it("has the contract's comments as descriptions", () => {
    expect(document.paths['/users.v1.UserService/GetUser']?.get).toMatchObject({
      description: expect.stringContaining('Reads one user.'),
    });
    expect(schemas['users.v1.User']?.properties?.email).toMatchObject({
      description: expect.stringContaining('One address without a display name'),
    });
  });

  it('refers exactly to the schemas that it has, and names each operation once', () => {
    const refs = [...text.matchAll(/"\$ref": "([^"]+)"/g)].map(([, ref]) => ref);
    expect([...new Set(refs)].sort()).toEqual(Object.keys(schemas).map((name) => `#/components/schemas/${name}`));
    const ids = Object.values(document.paths).flatMap(({ get, post }) => [get?.operationId, post?.operationId]);
    const named = ids.filter((id) => id !== undefined);
    expect(new Set(named).size).toBe(named.length);
  });
});
