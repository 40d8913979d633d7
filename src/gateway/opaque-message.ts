/**
 * Passes messages through connect-node as bytes: as empty messages with unknown fields, which it reads and writes
 * unchanged.
 */
import { create, type DescMethod, type Message, toBinary } from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { type Empty, EmptySchema } from '@bufbuild/protobuf/wkt';

/** Returns the method with message types that connect-node does not decode. */
export function opaqueMethod<M extends DescMethod>(method: M): M {
  return { ...method, input: EmptySchema, output: EmptySchema };
}

/** Wraps the bytes of a message. They may also be JSON, because connect-node writes an unknown field unchecked. */
export function toOpaque(bytes: Uint8Array): Message {
  const message = create(EmptySchema);
  if (bytes.length === 0) return message;
  const reader = new BinaryReader(bytes);
  const tag = reader.uint32();
  // connect-node writes the tag, and then all remaining bytes.
  message.$unknown = [{ no: tag >>> 3, wireType: tag & 7, data: bytes.subarray(reader.pos) }];
  return message;
}

/** Returns the bytes of a message that was wrapped, or read as an opaque one. */
export function opaqueBytes(message: Message): Uint8Array {
  return toBinary(EmptySchema, message as Empty);
}
