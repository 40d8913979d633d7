/** Starts the export of traces and metrics over OTLP, if it is configured. OpenTelemetry is loaded only then. */
import type { OtlpConfig } from '../config/otlp.js';
import type { Log } from './log.js';
import type { Metrics } from './metrics.js';
import type { Tracing } from './tracing.js';

export interface Otlp {
  /** Undefined if traces are not exported. */
  readonly tracing: Tracing | undefined;
  /** Exports the rest, for up to the flush timeout. */
  close(): Promise<void>;
}

export interface OtlpOptions {
  readonly log: Log;
  readonly metrics: Metrics;
}

/** How long close() may take. */
export const flushTimeoutMs = 1_000;

const off: Otlp = { tracing: undefined, close: async () => {} };

export async function startOtlp(config: OtlpConfig | undefined, options: OtlpOptions): Promise<Otlp> {
  if (config?.traces === undefined && config?.metrics === undefined) return off;
  const { createOtlp } = await import('./otlp.js');
  return createOtlp(config, options);
}
