/** Builds the bytes of HTTP/2 frames, also of invalid ones. */
import { frame, number } from './frame-bytes.js';

export const type = {
  data: 0,
  headers: 1,
  priority: 2,
  resetStream: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const flag = { endStream: 1, ack: 1, endHeaders: 4, padded: 8 } as const;

export function settings(...pairs: (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(6 * pairs.length);
  for (const [index, [id, value]] of pairs.entries()) {
    payload.writeUInt16BE(id, 6 * index);
    payload.writeUInt32BE(value, 6 * index + 2);
  }
  return frame(type.settings, 0, 0, payload);
}

export const settingsAck = frame(type.settings, flag.ack, 0);
export const ping = frame(type.ping, 0, 0, Buffer.alloc(8));

export function windowUpdate(stream: number, bytes: number): Buffer {
  return frame(type.windowUpdate, 0, stream, number(bytes));
}

export function resetStream(stream: number): Buffer {
  return frame(type.resetStream, 0, stream, number(8));
}

/** The block that the fields would have without indexes. `kind` is the first byte: 0 for a literal that no table keeps. */
export function literal(name: string, value: string, kind: 0 | 0x40 = 0): Buffer {
  const length = (text: string) => {
    if (text.length < 127) return Buffer.of(text.length);
    const bytes = [127];
    let rest = text.length - 127;
    for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128);
    return Buffer.from([...bytes, rest]);
  };
  return Buffer.concat([Buffer.of(kind), length(name), Buffer.from(name), length(value), Buffer.from(value)]);
}

/** The header block of a call. */
export function requestBlock(method: string, ...more: Buffer[]): Buffer {
  return Buffer.concat([
    // :method POST, :scheme http
    Buffer.of(0x83, 0x86),
    literal(':path', `/test.Flood/${method}`),
    literal('content-type', 'application/grpc'),
    literal('te', 'trailers'),
    ...more,
  ]);
}

export function headers(stream: number, block: Buffer, flags = 0): Buffer {
  return frame(type.headers, flags | flag.endHeaders, stream, block);
}

/** A message of gRPC in one DATA frame. */
export function message(stream: number, bytes: Buffer, flags = 0): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  return frame(type.data, flags, stream, Buffer.concat([prefix, bytes]));
}
