/** The messages between the conformance suite and a server under test. Each follows its length in four bytes. */
import { once } from 'node:events';
import { fromBinary, toBinary } from '@bufbuild/protobuf';

export async function readMessage(stream, schema) {
  let bytes = Buffer.alloc(0);
  while (bytes.length < 4 || bytes.length < 4 + bytes.readUInt32BE()) {
    const [chunk] = await once(stream, 'data');
    bytes = Buffer.concat([bytes, chunk]);
  }
  return fromBinary(schema, bytes.subarray(4, 4 + bytes.readUInt32BE()));
}

export function writeMessage(stream, schema, message) {
  const bytes = toBinary(schema, message);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  stream.write(Buffer.concat([length, bytes]));
}
