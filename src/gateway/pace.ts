/**
 * Limits how slow a client may be. Clients must send request bodies and read answers at a minimum rate. Meanwhile the
 * bytes count in the budget of the process.
 */
import { constants as http2 } from 'node:http2';
import type { ByteHold } from '../concurrency/byte-budget.js';
import type { HttpRequest, HttpResponse } from './gateway.js';

// The minimum that a client must send or read within the timeout.
const pieceBytes = 16 * 1024;

export interface Pace {
  readonly hold: ByteHold;
  readonly timeoutMs: number;
  /** Ends the call of a client that is too slow. */
  onStall(): void;
}

/**
 * Yields the body of a request. It is one message or, if `isStream`, several. A client may be silent between messages
 * indefinitely, but not within one.
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

/** Yields the body of an answer in pieces. If `isStream`, the server behind limits how long the stream may stall. */
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

/** The bytes that were written and have not left the process. */
function waitingBytes(response: HttpResponse): number {
  return 'stream' in response ? response.stream.writableLength : response.writableLength;
}

/** Ends a request at once. Other requests on a shared connection continue. */
export function end(request: HttpRequest): void {
  if ('stream' in request) request.stream.close(http2.NGHTTP2_CANCEL);
  else request.socket.destroy();
}
