/**
 * Requires clients to send request bodies and to read answers at a minimum rate. Bytes that the process holds meanwhile
 * count toward its byte budget.
 */
import { constants as http2 } from 'node:http2';
import type { ByteHold } from '../concurrency/byte-budget.js';
import type { HttpRequest, HttpResponse } from './gateway.js';

// A client must send or read at least this much within the timeout.
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
export async function* receive(
  request: HttpRequest,
  isStream: boolean,
  { hold, timeoutMs, onStall }: Pace,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  let untilMs = 0;
  const chunks = request.iterator({ destroyOnReturn: false });
  try {
    while (true) {
      const isBetween = isStream && hold.bytes() === 0;
      const nowMs = performance.now();
      if (isBetween || received >= pieceBytes || nowMs >= untilMs) {
        received = 0;
        untilMs = nowMs + timeoutMs;
      }
      const timer = isBetween ? undefined : setTimeout(onStall, untilMs - nowMs);
      const { done, value } = await chunks.next().finally(() => clearTimeout(timer));
      if (done) return;
      received += value.length;
      hold.moved(value.length);
      yield value;
    }
  } finally {
    // Otherwise the rest of a refused body could not be discarded.
    await chunks.return?.(undefined);
  }
}

/** Yields the body of an answer in pieces. If `isStream`, the gRPC server limits how long the client may stall. */
export async function* paceAnswer(
  body: AsyncIterable<Uint8Array>,
  response: HttpResponse,
  isStream: boolean,
  { hold, timeoutMs, onStall }: Pace,
): AsyncGenerator<Uint8Array> {
  let counted = 0;
  const count = (bytes: number) => {
    if (bytes > counted) hold.add(bytes - counted);
    else hold.remove(counted - bytes);
    counted = bytes;
  };
  for await (const chunk of body) {
    for (let at = 0; at < chunk.length; at += pieceBytes) {
      const piece = chunk.subarray(at, at + pieceBytes);
      count(waitingBytes(response) + chunk.length - at);
      const timer = isStream ? undefined : setTimeout(onStall, timeoutMs);
      try {
        yield piece;
      } finally {
        clearTimeout(timer);
      }
      hold.moved(piece.length);
    }
    count(waitingBytes(response));
  }
  const timer = setTimeout(onStall, timeoutMs);
  response.once('close', () => clearTimeout(timer));
}

/** The number of bytes that were written but have not left the process yet. */
function waitingBytes(response: HttpResponse): number {
  return 'stream' in response ? response.stream.writableLength : response.writableLength;
}

/** Ends a request at once. Other requests on the same HTTP/2 connection continue. */
export function end(request: HttpRequest): void {
  if ('stream' in request) request.stream.close(http2.NGHTTP2_CANCEL);
  else request.socket.destroy();
}
