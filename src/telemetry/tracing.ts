/** The interface for recording traces. Nothing here loads OpenTelemetry. */
import type { Span } from '@opentelemetry/api';

/** Records spans. It is undefined everywhere if traces are not exported, so that they cost nothing. */
export interface Tracing {
  /**
   * Starts the span of a call that a client sent. `header` returns the value of a metadata field. `method` must come
   * from a closed list.
   */
  startCall(method: string, header: (name: string) => string | undefined): CallSpan;
  /** Starts the span of a call over HTTP. `path` must be that of a known method, because others may contain anything. */
  startRequest(request: HttpRequestTrace): RequestSpan;
  /** The call whose handler is running. Undefined outside of calls, and for calls that are not sampled. */
  active(): CallSpan | undefined;
  /** Starts the span of a call's wait for a shared statement. */
  startWait(statement: string, call: CallSpan): WaitSpan;
  /** Runs a shared statement in a span that has a link to each of the calls. */
  traceStatement<T>(statement: SharedStatement, run: () => PromiseLike<T>): Promise<T>;
}

export interface CallSpan {
  readonly span: Span;
  /** For the log. */
  readonly traceId: string;
  /** Runs the handler of the call, so that active() returns this span in it. */
  run(work: () => void): void;
  /** `reason` must come from a closed list. */
  end(status: string, reason: string | undefined): void;
}

export interface HttpRequestTrace {
  readonly method: string;
  readonly path: string;
  header(name: string): string | undefined;
}

export interface RequestSpan {
  readonly traceId: string;
  /** Headers that make the request's span the parent of the next server's. */
  readonly headers: Readonly<Record<string, string>>;
  end(end: HttpRequestEnd): void;
}

export interface HttpRequestEnd {
  /** Undefined if the client disconnected before it got one. */
  readonly httpStatus: number | undefined;
  /** The status of the call, if no server got it. */
  readonly status?: string;
  readonly reason?: string;
}

export interface WaitSpan {
  /** May be called again. */
  end(): void;
}

export interface SharedStatement {
  readonly name: string;
  readonly rows: number;
  /** The calls that are sampled. */
  readonly calls: readonly CallSpan[];
}
