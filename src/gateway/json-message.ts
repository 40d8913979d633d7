/** Converts messages from JSON to protobuf. Errors never repeat what was sent. */
import { isUtf8 } from 'node:buffer';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonValue,
  type Registry,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf';
import { type Fault, invalid, invalidRequest } from '../model/fault.js';
import { parseJsonInPieces } from './json-parser.js';

// Parsing fewer bytes than these takes less than a millisecond.
const smallBytes = 16 * 1024;

/** Returns the protobuf bytes. Throws a Fault if the message is not JSON of this type, or is too expensive to read. */
export async function readJsonMessage(type: DescMessage, bytes: Buffer, registry: Registry): Promise<Uint8Array> {
  if (!isUtf8(bytes)) throw invalidRequest('The request is not valid UTF-8.');
  const json = await parseJsonInPieces(bytes);
  await unblock(bytes);
  const options = { registry, ignoreUnknownFields: true };
  const message = decode(() => fromJson(type, json, options));
  if (message === undefined) throw await wrongField(type, json, registry);
  await unblock(bytes);
  return toBinary(type, message);
}

/** Yields to other calls between the steps for a large message. */
async function unblock({ length }: Uint8Array): Promise<void> {
  if (length > smallBytes) await nextTurn();
}

function decode<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** Names the field that cannot be read. */
async function wrongField(type: DescMessage, json: JsonValue, registry: Registry): Promise<Fault> {
  const found = await findWrongField(type, json, registry);
  if (found === undefined) return invalidRequest(`The request is not valid JSON for ${type.typeName}.`);
  return invalid([{ field: found.path, description: expectation(found.field) }]);
}

interface WrongField {
  readonly path: string;
  readonly field: DescField;
}

/** Reads each part by itself until one fails, and then searches in that part. */
async function findWrongField(type: DescMessage, json: JsonValue, registry: Registry): Promise<WrongField | undefined> {
  // Messages of google.protobuf have their own JSON formats.
  if (!isObject(json) || type.typeName.startsWith('google.protobuf.')) return undefined;
  const isWrong = (part: JsonValue) =>
    decode(() => fromJson(type, part, { registry, ignoreUnknownFields: true })) === undefined;
  for (const [key, value] of Object.entries(json)) {
    const field = type.fields.find(({ name, jsonName }) => name === key || jsonName === key);
    if (field === undefined || !isWrong({ [key]: value })) continue;
    await nextTurn();
    if (field.fieldKind === 'list' && Array.isArray(value)) {
      const index = value.findIndex((item) => isWrong({ [key]: [item] }));
      if (index < 0) return { path: field.name, field };
      await nextTurn();
      return inside(`${field.name}[${index}]`, field, value[index], registry);
    }
    return inside(field.name, field, value, registry);
  }
  return undefined;
}

async function inside(
  path: string,
  field: DescField,
  json: JsonValue | undefined,
  registry: Registry,
): Promise<WrongField> {
  const isMessage = field.fieldKind === 'message' || (field.fieldKind === 'list' && field.listKind === 'message');
  const inner = isMessage && json !== undefined ? await findWrongField(field.message, json, registry) : undefined;
  return inner === undefined ? { path, field } : { path: `${path}.${inner.path}`, field: inner.field };
}

function isObject(json: JsonValue): json is { [key: string]: JsonValue } {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

/** Describes the JSON that a field accepts. */
function expectation(field: DescField): string {
  const isList = field.fieldKind === 'list';
  const prefix = isList ? 'must be a list, each item of which is' : 'must be';
  const kind = isList ? field.listKind : field.fieldKind;
  if (kind === 'map') return 'must be an object';
  if (kind === 'enum') return `${prefix} the name or the number of a value of ${field.enum?.typeName}`;
  if (kind === 'message') return `${prefix} JSON for ${field.message?.typeName}`;
  return `${prefix} ${scalarJson(field.scalar)}`;
}

function scalarJson(scalar: ScalarType | undefined): string {
  switch (scalar) {
    case ScalarType.STRING:
      return 'a string';
    case ScalarType.BOOL:
      return 'true or false';
    case ScalarType.BYTES:
      return 'a string in base64';
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return 'a number';
    default:
      return 'a whole number in the range of its type';
  }
}
