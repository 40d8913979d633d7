/**
 * Requires clients to send request bodies and to read responses at a minimum rate. Counts the bytes that the process
 * holds meanwhile toward its byte budget.
 */
import type { ServerResponse } from 'node:http';
import { constants as http2 } from 'node:http2';
import type { ByteHold } from '../grpc-server/byte-budget.js';
import { ByteCollector } from '../grpc-server/byte-collector.js';
import { requestTooLarge } from '../rpc/wire-definition.js';
import type { HttpRequest, HttpResponse } from './gateway.js';

// A client must send or read at least this many bytes within the timeout.
const pieceBytes = 16 * 1024;

export interface Pace {
  readonly hold: ByteHold;
  readonly timeoutMs: number;
  /** Ends the call of a client that is too slow. */
  onStall(): void;
}

/**
 * Yields the body of a request. The body is one message or, if `isStream`, several. A client may pause indefinitely
 * between messages, but not within one.
 */
export async function* paceRequest(
  request: HttpRequest,
  isStream: boolean,
  { hold, timeoutMs, onStall }: Pace,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  let deadlineMs = 0;
  const chunks = request.iterator({ destroyOnReturn: false });
  try {
    while (true) {
      const isBetweenMessages = isStream && hold.bytes() === 0;
      const nowMs = performance.now();
      if (isBetweenMessages || received >= pieceBytes || nowMs >= deadlineMs) {
        received = 0;
        deadlineMs = nowMs + timeoutMs;
      }
      const timer = isBetweenMessages ? undefined : setTimeout(onStall, deadlineMs - nowMs);
      const { done, value } = await chunks.next().finally(() => clearTimeout(timer));
      if (done) return;
      received += value.length;
      hold.recordTransfer(value.length);
      yield value;
    }
  } finally {
    // Without this, the rest of a refused body could not be discarded.
    await chunks.return?.(undefined);
  }
}

/** The client has disconnected before the end of its request. */
export class Disconnected extends Error {
  override readonly name = 'Disconnected';
}

/** Reads a body. Throws a Fault if it has more than `bytesMax` bytes, and Disconnected. */
export function readPaced(request: HttpRequest, bytesMax: number, { hold, timeoutMs, onStall }: Pace): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const collected = new ByteCollector();
  let received = 0;
  let timer = setTimeout(onStall, timeoutMs);
  const onData = (chunk: Buffer) => {
    collected.push(chunk);
    hold.add(chunk.length);
    hold.recordTransfer(chunk.length);
    if (collected.length > bytesMax) {
      request.pause();
      settle(() => reject(requestTooLarge(bytesMax)));
    }
    received += chunk.length;
    if (received < pieceBytes) return;
    received = 0;
    clearTimeout(timer);
    timer = setTimeout(onStall, timeoutMs);
  };
  const onEnd = () => {
    if (request.aborted) return onClose();
    hold.remove(collected.length);
    settle(() => resolve(collected.take(collected.length)));
  };
  const onClose = () => settle(() => reject(new Disconnected()));
  function settle(how: () => void): void {
    clearTimeout(timer);
    request.off('data', onData).off('end', onEnd).off('close', onClose);
    how();
  }
  request.on('data', onData).on('end', onEnd).on('close', onClose);
  // The close event follows.
  request.on('error', () => {});
  return promise;
}

/** Writes the body of a response, which has a Content-Length. Resolves when nothing remains to be written. */
export async function paceWholeResponse(body: string | Uint8Array, response: HttpResponse, pace: Pace): Promise<void> {
  const length = Buffer.byteLength(body);
  if (length > pieceBytes) {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    for await (const piece of paceResponse([bytes], response, false, pace)) {
      if (!(response as ServerResponse).write(piece)) await drained(response);
      if (response.destroyed) return;
    }
    response.end();
    return;
  }
  // Node writes the header and a string together. The header is latin1, and ASCII is the same in both encodings.
  if (typeof body === 'string' && length === body.length) response.end(body, 'latin1');
  else response.end(body);
  const unsent = unsentBytes(response);
  if (unsent === 0) return;
  pace.hold.add(unsent);
  const timer = setTimeout(pace.onStall, pace.timeoutMs);
  response.once('close', () => clearTimeout(timer));
}

function drained(response: HttpResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}

/** Yields the body of a response in pieces. If `isStream`, the gRPC server limits how long the client may pause. */
export async function* paceResponse(
  body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  response: HttpResponse,
  isStream: boolean,
  { hold, timeoutMs, onStall }: Pace,
): AsyncGenerator<Uint8Array> {
  let held = 0;
  const setHeld = (bytes: number) => {
    if (bytes > held) hold.add(bytes - held);
    else hold.remove(held - bytes);
    held = bytes;
  };
  for await (const chunk of body) {
    for (let at = 0; at < chunk.length; at += pieceBytes) {
      const piece = chunk.subarray(at, at + pieceBytes);
      setHeld(unsentBytes(response) + chunk.length - at);
      const timer = isStream ? undefined : setTimeout(onStall, timeoutMs);
      try {
        yield piece;
      } finally {
        clearTimeout(timer);
      }
      hold.recordTransfer(piece.length);
    }
    setHeld(unsentBytes(response));
  }
  const timer = setTimeout(onStall, timeoutMs);
  response.once('close', () => clearTimeout(timer));
}

/** The number of bytes that were written but have not left the process yet. */
function unsentBytes(response: HttpResponse): number {
  return 'stream' in response ? response.stream.writableLength : response.writableLength;
}

/** Aborts a request. Other requests on the same HTTP/2 connection continue. */
export function abortRequest(request: HttpRequest): void {
  if (!('stream' in request)) request.socket.destroy();
  else if (!request.stream.closed) request.stream.close(http2.NGHTTP2_CANCEL);
  // Node keeps a stream that the client has reset with NO_ERROR until all its data is sent: never.
  else request.stream.destroy();
}
