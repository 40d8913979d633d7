/** Calls of a bare HTTP/2 client, which can send what no gRPC library sends. */
import { once } from 'node:events';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type IncomingHttpHeaders } from 'node:http2';
import { onTestFinished } from 'vitest';

export interface RawResponse {
  readonly header: IncomingHttpHeaders;
  /** The header of a response that is only this header. */
  readonly trailers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The error code of RST_STREAM. */
  readonly code: number | undefined;
}

export function connectRaw(port: number): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`);
  session.on('error', () => {});
  onTestFinished(() => session.destroy());
  return session;
}

/** Starts a call. Its request stays open. */
export function openRaw(
  session: ClientHttp2Session,
  method: string,
  fields: Readonly<Record<string, string | string[] | undefined>> = {},
): ClientHttp2Stream {
  const stream = session.request(
    {
      ':method': 'POST',
      ':path': `/echo.Echo/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...fields,
    },
    { endStream: false },
  );
  stream.on('error', () => {});
  return stream;
}

/** Reads the whole response. */
export async function readRaw(stream: ClientHttp2Stream): Promise<RawResponse> {
  let header: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders | undefined;
  const chunks: Buffer[] = [];
  stream.on('response', (fields) => {
    header = fields;
  });
  stream.on('trailers', (fields) => {
    trailers = fields;
  });
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(stream, 'close');
  return { header, trailers: trailers ?? header, body: Buffer.concat(chunks), code: stream.rstCode };
}

/** A message with its prefix. The announced length can be another one. */
export function prefixed(text: string | Buffer, flags = 0, length = Buffer.byteLength(text)): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flags);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, Buffer.from(text)]);
}
