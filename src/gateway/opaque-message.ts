/**
 * Messages that pass through the gateway as bytes. connect-node sees empty messages with unknown fields, which it reads
 * and writes unchanged.
 */
import { create, type DescMessage, type DescMethod, type Message, mergeFromBinary } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import { EmptySchema } from '@bufbuild/protobuf/wkt';
import { createPause } from '../concurrency/event-loop.js';

/** The same method with messages that are not decoded. */
export function opaqueMethod<M extends DescMethod>(method: M): M {
  return { ...method, input: EmptySchema, output: EmptySchema };
}

/** The bytes must be those of a protobuf message. */
export function toOpaque(bytes: Uint8Array): Message {
  const message = create(EmptySchema);
  if (bytes.length === 0) return message;
  const reader = new BinaryReader(bytes);
  const [no, wireType] = reader.tag();
  // Everything after the first tag is written after it again.
  message.$unknown = [{ no, wireType, data: bytes.subarray(reader.pos) }];
  return message;
}

/** Decodes field by field, because an answer may be large. */
export async function fromOpaque(type: DescMessage, { $unknown = [] }: Message): Promise<Message> {
  const message = create(type);
  const pause = createPause();
  for (const { no, wireType, data } of $unknown) {
    mergeFromBinary(type, message, new BinaryWriter().tag(no, wireType).raw(data).finish());
    await pause();
  }
  return message;
}
