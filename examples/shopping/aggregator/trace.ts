/**
 * A trace as W3C has it (https://www.w3.org/TR/trace-context/): every piece of work is a span below the one that asked for
 * it, and `traceparent` is how a caller says which that is. A span is written when it is over; collecting is another's.
 */
import { randomBytes } from 'node:crypto';

export interface Span {
  readonly name: string;
  /** Whose work it is. */
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
  readonly startMs: number;
  readonly durationMs: number;
  /** The gRPC status. */
  readonly status: string;
  /** What was left of the deadline at the start, where there was one. */
  readonly deadlineMs?: number;
  /** What it was about, where several of the name stand side by side. */
  readonly about?: string;
}

export interface SpanStart {
  readonly name: string;
  /** The caller's; what is none starts a trace of its own. */
  readonly traceparent: string | undefined;
  readonly deadlineMs?: number;
  readonly about?: string;
}

/** Runs `work` as a span; what it gets is the traceparent for calls that it makes. */
export type Trace = <T>(start: SpanStart, work: (traceparent: string) => Promise<T>) => Promise<T>;

export function createTrace(service: string, statusOf: (error: unknown) => string, write: (span: Span) => void): Trace {
  return async ({ traceparent = '', ...start }, work) => {
    const [, traceId = randomHex(16), parentId = ''] =
      /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(traceparent) ?? [];
    const spanId = randomHex(8);
    const startedMs = performance.now();
    const end = (status: string) => {
      const startMs = performance.timeOrigin + startedMs;
      const durationMs = performance.now() - startedMs;
      write({ ...start, service, traceId, spanId, parentId, startMs, durationMs, status });
    };
    try {
      const result = await work(`00-${traceId}-${spanId}-01`);
      end('OK');
      return result;
    } catch (error) {
      end(statusOf(error));
      throw error;
    }
  };
}

function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}
