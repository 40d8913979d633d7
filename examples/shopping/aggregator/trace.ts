/**
 * W3C trace context (https://www.w3.org/TR/trace-context/): every piece of work is a span below its caller's span, which the
 * caller sends as `traceparent`. A span is written when it ends. Another process collects spans.
 */
import { randomBytes } from 'node:crypto';

export interface Span {
  readonly name: string;
  /** The service that does the work. */
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId: string;
  readonly startMs: number;
  readonly durationMs: number;
  /** The gRPC status. */
  readonly status: string;
  /** The remaining time at the start, if there is a deadline. */
  readonly deadlineMs?: number;
  /** Distinguishes several spans with the same name. */
  readonly about?: string;
}

export interface SpanStart {
  readonly name: string;
  /** The caller's traceparent. If it is missing or invalid, a new trace starts. */
  readonly traceparent: string | undefined;
  readonly deadlineMs?: number;
  readonly about?: string;
}

/** Runs `work` as a span. `work` receives the traceparent for its own calls. */
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
