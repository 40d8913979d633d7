/** The interface for programs that observe calls and choose their statuses. */
import { ServerError, Status } from 'nice-grpc-common';
import type { CallerShare } from './caller-share.js';
import type { Connection, HeaderFields } from './stream.js';

/** A call that a client has started. */
export interface CallInfo {
  /** As in `/users.v1.UserService/GetUser`. It may be anything if no method has this path. */
  readonly path: string;
  readonly isKnownMethod: boolean;
  readonly responseStream: boolean;
  /** Whether its requests or its responses are a stream. */
  readonly isStream: boolean;
  /** The client's address. */
  readonly peer: string;
  readonly fields: HeaderFields;
  /** When the header arrived, by performance.now(). */
  readonly startedMs: number;
  /** The time that the client waits from then on. */
  readonly timeoutMs: number | undefined;
  readonly connection: Connection;
  /** `ServerOptions.admit` may store here who calls. Handlers get it in their context. */
  caller: unknown;
  /** `ServerOptions.admit` may store here what counts the call until it has closed. */
  share: CallerShare | undefined;
}

export interface CallStatus {
  readonly code: Status;
  readonly message: string;
  /** Additional trailers. */
  readonly fields?: HeaderFields;
}

export interface CallObserver {
  /** Trailers that every status gets, such as a request id. */
  readonly fields: HeaderFields;
  /**
   * Returns the status for an error: of a handler, of a decoder or an encoder, or a CallError of the server. The client
   * does not receive the status if it has cancelled the call.
   */
  statusOf(error: unknown): CallStatus;
  /** Runs the handler. The default is to call it. */
  run?(handle: () => void): void;
  /** An error of a handler whose call has already ended. */
  onLateError?(error: unknown): void;
  /**
   * The call has failed, or its responses and its status were sent. Called once. `durationMs` is the time until the
   * status was known.
   */
  onEnd(code: Status, durationMs: number): void;
  /** A request that is not gRPC was answered with this HTTP status. */
  onNotGrpc?(httpStatus: number): void;
}

/** nice-grpc's rules. */
export function plainObserver({ path }: CallInfo): CallObserver {
  return {
    fields: [],
    statusOf(error) {
      if (error instanceof ServerError) return { code: error.code, message: error.details };
      if (error instanceof Error && error.name === 'AbortError')
        return { code: Status.CANCELLED, message: 'The operation was cancelled' };
      const text = error instanceof Error ? error.stack : String(error);
      process.emitWarning(
        `${path}: Uncaught error in server implementation method. Server methods should only throw ServerError or ` +
          `AbortError. ${text}`,
      );
      return { code: Status.UNKNOWN, message: 'Unknown server error occurred' };
    },
    onEnd() {},
  };
}
