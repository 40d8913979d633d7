/**
 * Messages that pass through the gateway as bytes. connect-node sees empty messages with unknown fields, which it reads
 * and writes unchanged.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { create, type DescMessage, type DescMethod, type Message, mergeFromBinary } from '@bufbuild/protobuf';
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import { EmptySchema } from '@bufbuild/protobuf/wkt';

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

// How long one message may be decoded before other calls get the event loop.
const decodeMsMax = 10;

/** Decodes field by field, because an answer may be large. */
export async function fromOpaque(type: DescMessage, { $unknown = [] }: Message): Promise<Message> {
  const message = create(type);
  let startMs = performance.now();
  for (const { no, wireType, data } of $unknown) {
    mergeFromBinary(type, message, new BinaryWriter().tag(no, wireType).raw(data).finish());
    if (performance.now() - startMs > decodeMsMax) {
      await nextTurn();
      startMs = performance.now();
    }
  }
  return message;
}
