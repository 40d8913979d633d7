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
import { Code, ConnectError } from '@connectrpc/connect';
import { createPause } from '../concurrency/event-loop.js';

/** `message` is opaque. Throws a ConnectError if it cannot be written as JSON. */
export async function jsonOfAnswer(type: DescMessage, message: Message, registry: Registry): Promise<Uint8Array> {
  try {
    return Buffer.from(await writeJson(type, message, registry));
  } catch (error) {
    throw ConnectError.from(error, Code.Internal);
  }
}

/** Converts each message of a list separately, and everything else together. */
async function writeJson(type: DescMessage, { $unknown = [] }: Message, registry: Registry): Promise<string> {
  const pause = createPause();
  const rest = create(type);
  const lists = new Map<DescField, string[]>();
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
      items.push(toJsonString(field.message, item, { registry }));
      lists.set(field, items);
    } else {
      mergeFromBinary(type, rest, new BinaryWriter().tag(no, wireType).raw(data).finish());
    }
    await pause();
  }
  const json = toJson(type, rest, { registry });
  if (lists.size === 0) return JSON.stringify(json);
  const members = new Map(Object.entries(json ?? {}).map(([name, value]) => [name, JSON.stringify(value)]));
  for (const [{ jsonName }, items] of lists) members.set(jsonName, `[${items.join(',')}]`);
  // In the order of the contract.
  const names = new Set([...type.fields.map(({ jsonName }) => jsonName), ...members.keys()]);
  const texts = [...names].flatMap((name) => (members.has(name) ? `${JSON.stringify(name)}:${members.get(name)}` : []));
  return `{${texts.join(',')}}`;
}

/** Such as google.protobuf.ListValue, which is a list in JSON. */
function hasOwnFormat({ typeName }: DescMessage): boolean {
  return typeName.startsWith('google.protobuf.');
}
