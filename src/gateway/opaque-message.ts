/**
 * Messages that pass through the gateway as bytes. connect-node sees empty messages with unknown fields, which it reads
 * and writes unchanged.
 */
import { create, type DescMethod, type Message } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { EmptySchema } from '@bufbuild/protobuf/wkt';

/** The same method with messages that are not decoded. */
export function opaqueMethod<M extends DescMethod>(method: M): M {
  return { ...method, input: EmptySchema, output: EmptySchema };
}

/** The bytes may also be JSON, because connect-node writes an unknown field without checking it. */
export function toOpaque(bytes: Uint8Array): Message {
  const message = create(EmptySchema);
  if (bytes.length === 0) return message;
  const reader = new BinaryReader(bytes);
  const tag = reader.uint32();
  // Everything after the first tag is written after it again.
  message.$unknown = [{ no: tag >>> 3, wireType: tag & 7, data: bytes.subarray(reader.pos) }];
  return message;
}
