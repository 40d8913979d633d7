/** Converts answers to JSON, with pauses in which other calls are handled, because an answer may be large. */
import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type Message,
  mergeFromBinary,
  type Registry,
  toJson,
  toJsonString,
} from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { createPause } from '../concurrency/event-loop.js';

/** `message` is opaque. Throws a ConnectError if it cannot be written as JSON. */
export async function jsonOfAnswer(type: DescMessage, message: Message, registry: Registry): Promise<Uint8Array> {
  try {
    return await writeJson(type, message, registry);
  } catch (error) {
    throw ConnectError.from(error, Code.Internal);
  }
}

// Takes less than a millisecond.
const smallBytesMax = 16 * 1024;

/** The same for the bytes of a message. */
export async function jsonOfBytes(
  type: DescMessage,
  bytes: Uint8Array,
  registry: Registry,
): Promise<string | Uint8Array> {
  if (bytes.length > smallBytesMax) return jsonOfAnswer(type, fromBinary(EmptySchema, bytes), registry);
  try {
    return toJsonString(type, fromBinary(type, bytes), { registry });
  } catch (error) {
    throw ConnectError.from(error, Code.Internal);
  }
}

/** Converts each message of a list separately, and everything else together. */
async function writeJson(type: DescMessage, { $unknown = [] }: Message, registry: Registry): Promise<Uint8Array> {
  const pause = createPause();
  const rest = create(type);
  const lists = new Map<DescField, Buffer[]>();
  for (const { no, wireType, data } of $unknown) {
    const field = type.fields.find(({ number }) => number === no);
    if (
      field?.fieldKind === 'list' &&
      field.listKind === 'message' &&
      wireType === WireType.LengthDelimited &&
      !hasOwnFormat(type)
    ) {
      const item = fromBinary(field.message, new BinaryReader(data).bytes());
      const items = lists.get(field) ?? [];
      items.push(Buffer.from((items.length === 0 ? '[' : ',') + toJsonString(field.message, item, { registry })));
      lists.set(field, items);
    } else {
      mergeFromBinary(type, rest, new BinaryWriter().tag(no, wireType).raw(data).finish());
    }
    await pause();
  }
  const json = toJson(type, rest, { registry });
  if (lists.size === 0) return Buffer.from(JSON.stringify(json));
  const members = new Map<string, Buffer[]>(
    Object.entries(json ?? {}).map(([name, value]) => [name, [Buffer.from(JSON.stringify(value))]]),
  );
  for (const [{ jsonName }, items] of lists) members.set(jsonName, [...items, Buffer.from(']')]);
  // In the order of the contract.
  const names = new Set([...type.fields.map(({ jsonName }) => jsonName), ...members.keys()]);
  const parts: Buffer[] = [];
  for (const name of names) {
    const value = members.get(name);
    if (value === undefined) continue;
    parts.push(Buffer.from(`${parts.length === 0 ? '{' : ','}${JSON.stringify(name)}:`), ...value);
  }
  return Buffer.concat([...parts, Buffer.from('}')]);
}

/** Such as google.protobuf.ListValue, which is a list in JSON. */
function hasOwnFormat({ typeName }: DescMessage): boolean {
  return typeName.startsWith('google.protobuf.');
}
