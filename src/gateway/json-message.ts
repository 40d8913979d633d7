/**
 * Converts messages from JSON to protobuf, with pauses in which other calls are handled. Errors name the field, and never
 * repeat what was sent.
 */
import { isUtf8 } from 'node:buffer';
import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type JsonValue,
  type Registry,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { createPause } from '../concurrency/event-loop.js';
import { type Fault, invalid, invalidRequest } from '../model/fault.js';
import { parseJsonInPieces } from './json-parser.js';

/** Returns the protobuf bytes. Throws a Fault if the message is not JSON of this type, or is too expensive to read. */
export async function readJsonMessage(type: DescMessage, bytes: Buffer, registry: Registry): Promise<Uint8Array> {
  if (!isUtf8(bytes)) throw invalidRequest('The request is not valid UTF-8.');
  const json = await parseJsonInPieces(bytes);
  return new JsonMessageWriter(registry).write(type, json);
}

/** Where a value stands in the message. The outermost message has no field. */
interface Place {
  readonly path: string;
  readonly field: DescField;
  /** Whether the value is one item of a repeated field. */
  readonly isItem: boolean;
}

/** Writes one message. Writes lists of messages and Structs item by item, because they may be large. */
class JsonMessageWriter {
  readonly #registry: Registry;
  readonly #writer = new BinaryWriter();
  readonly #pause = createPause();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  async write(type: DescMessage, json: JsonValue): Promise<Uint8Array> {
    await this.#writeMessage(type, json, undefined);
    return this.#writer.finish();
  }

  async #writeMessage(type: DescMessage, json: JsonValue, place: Place | undefined): Promise<void> {
    const pausing = this.#pause();
    if (pausing !== undefined) await pausing;
    switch (type.typeName) {
      case 'google.protobuf.Struct':
        if (!isObject(json)) throw wrongJson(type, place);
        return this.#writeStruct(json);
      case 'google.protobuf.Value':
        return this.#writeValue(json);
    }
    // Other messages of google.protobuf have their own JSON formats, and are small.
    if (type.typeName.startsWith('google.protobuf.')) return this.#writeWhole(type, json, () => wrongJson(type, place));
    if (!isObject(json)) throw wrongJson(type, place);
    await this.#writeFields(type, json, place === undefined ? '' : `${place.path}.`);
  }

  /** Writes the fields that have messages one by one, and then all others together. */
  async #writeFields(type: DescMessage, json: JsonObject, prefix: string): Promise<void> {
    const others: JsonObject = Object.create(null);
    const seen = new Set<DescField>();
    for (const [key, value] of Object.entries(json)) {
      const field = type.fields.find(({ name, jsonName }) => name === key || jsonName === key);
      const place = field && { path: prefix + field.name, field, isItem: false };
      if (place !== undefined) {
        // Under both its names.
        if (seen.has(place.field)) throw wrongField(place);
        seen.add(place.field);
      }
      if (place === undefined || !hasMessages(place.field)) others[key] = value;
      else await this.#writeMessages(place, value);
    }
    this.#writeWhole(type, others, () => this.#findWrongField(type, others, prefix));
  }

  async #writeMessages(place: Place, json: JsonValue): Promise<void> {
    const { field, path } = place;
    if (field.message === undefined || (json === null && !isNullable(field.message))) return;
    if (field.fieldKind !== 'list') return this.#writeNested(field.message, json, place);
    if (!Array.isArray(json)) throw wrongField(place);
    for (const [index, item] of json.entries()) {
      await this.#writeNested(field.message, item, { field, path: `${path}[${index}]`, isItem: true });
    }
  }

  async #writeNested(type: DescMessage, json: JsonValue, place: Place): Promise<void> {
    this.#writer.tag(place.field.number, WireType.LengthDelimited).fork();
    await this.#writeMessage(type, json, place);
    this.#writer.join();
  }

  #writeWhole(type: DescMessage, json: JsonValue, describe: () => Fault): void {
    const message = this.#convert(type, json);
    if (message === undefined) throw describe();
    this.#writer.raw(message);
  }

  #convert(type: DescMessage, json: JsonValue): Uint8Array | undefined {
    try {
      return toBinary(type, fromJson(type, json, { registry: this.#registry, ignoreUnknownFields: true }));
    } catch {
      return undefined;
    }
  }

  #findWrongField(type: DescMessage, json: JsonObject, prefix: string): Fault {
    const isWrong = (key: string, value: JsonValue) => this.#convert(type, { [key]: value }) === undefined;
    const key = Object.keys(json).find((name) => isWrong(name, json[name] ?? null));
    const field = type.fields.find(({ name, jsonName }) => name === key || jsonName === key);
    if (key === undefined || field === undefined) return wrongJson(type, undefined);
    const path = prefix + field.name;
    const value = json[key];
    const isList = field.fieldKind === 'list' && Array.isArray(value);
    const index = isList ? value.findIndex((item) => isWrong(key, [item])) : -1;
    return wrongField(index < 0 ? { path, field, isItem: false } : { path: `${path}[${index}]`, field, isItem: true });
  }

  /** Any JSON object is a Struct. Each of its keys is an entry of the map `fields`, with number 1. */
  async #writeStruct(json: JsonObject): Promise<void> {
    for (const key in json) {
      this.#writer.tag(1, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).string(key);
      this.#writer.tag(2, WireType.LengthDelimited).fork();
      await this.#writeValue(json[key] ?? null);
      this.#writer.join().join();
    }
  }

  /** With the field numbers of google.protobuf.Value. */
  async #writeValue(json: JsonValue): Promise<void> {
    const pausing = this.#pause();
    if (pausing !== undefined) await pausing;
    const writer = this.#writer;
    if (json === null) writer.tag(1, WireType.Varint).int32(0);
    else if (typeof json === 'number') writer.tag(2, WireType.Bit64).double(json);
    else if (typeof json === 'string') writer.tag(3, WireType.LengthDelimited).string(json);
    else if (typeof json === 'boolean') writer.tag(4, WireType.Varint).bool(json);
    else if (!Array.isArray(json)) {
      writer.tag(5, WireType.LengthDelimited).fork();
      await this.#writeStruct(json);
      writer.join();
    } else {
      writer.tag(6, WireType.LengthDelimited).fork();
      for (const item of json) {
        writer.tag(1, WireType.LengthDelimited).fork();
        await this.#writeValue(item);
        writer.join();
      }
      writer.join();
    }
  }
}

/** Whether it is a message or a list of messages. A member of a oneof is converted together with the others. */
function hasMessages(field: DescField): boolean {
  const isMessage = field.fieldKind === 'message' || (field.fieldKind === 'list' && field.listKind === 'message');
  return isMessage && field.oneof === undefined;
}

/** For other messages, null in JSON means that the field is not set. */
function isNullable({ typeName }: DescMessage): boolean {
  return typeName === 'google.protobuf.Value';
}

function isObject(json: JsonValue): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function wrongJson(type: DescMessage, place: Place | undefined): Fault {
  if (place !== undefined) return wrongField(place);
  return invalidRequest(`The request is not valid JSON for ${type.typeName}.`);
}

function wrongField({ path, field, isItem }: Place): Fault {
  return invalid([{ field: path, description: expectation(field, isItem) }]);
}

/** Describes the JSON that a field accepts. */
function expectation(field: DescField, isItem: boolean): string {
  const isList = field.fieldKind === 'list' && !isItem;
  const prefix = isList ? 'must be a list, each item of which is' : 'must be';
  const kind = field.fieldKind === 'list' ? field.listKind : field.fieldKind;
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
