/**
 * The metrics of a process, and their sum over several processes, in Prometheus' text format.
 *
 * Label values come from closed lists, never from requests or rows. Calls, batches and imported rows are counted; all
 * other values are read on each scrape. docs/decisions/0036-metrics-follow-opentelemetry.md explains the names.
 */
import { AggregatorRegistry, Counter, Histogram, Registry } from 'prom-client';
import { CallDurations } from './call-durations.js';
import { addProcessMetrics } from './process-metrics.js';
import { addSourceMetrics, type MetricSources } from './source-metrics.js';

export interface Metrics {
  /** Counts an ended call. Method and status must come from closed lists. */
  call(method: string, status: string, durationMs: number): void;
  /** Counts a statement that `rows` calls shared. */
  batch(statement: string, rows: number): void;
  /** Counts the duration of a shared statement, whether it failed or not. */
  statement(statement: string, durationMs: number): void;
  /** Counts rows of an import. */
  imported(outcome: string, rows: number): void;
  /** Counts a call that was refused because its caller had reached a limit. */
  limited(limit: string): void;
  /** Adds sources, which are read on each scrape. */
  observe(sources: Partial<MetricSources>): void;
  /** The current metrics of this process, in a form that can be sent to another process. */
  snapshot(): Promise<MetricsSnapshot>;
}

export type MetricsSnapshot = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8';

/** The method of calls whose method does not exist. */
export const otherMethod = '_OTHER';

// From a lookup that Postgres serves from memory to a time that most clients do not wait for. Few buckets, because
// there is one series for each bucket, method and status.
const secondsBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];
// Up to the maximum of BATCH_ROWS_MAX.
const rowsBounds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096];

// The statuses that are a server's fault: https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
const serverErrors: ReadonlySet<string> = new Set([
  'UNKNOWN',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
]);

/** Whether the status of a call counts as an error of the server, and not of the client. */
export function isServerError(status: string): boolean {
  return serverErrors.has(status);
}

export function createMetrics(): Metrics {
  let sources: Partial<MetricSources> = {};
  const registry = new Registry();
  const registers = [registry];
  const calls = new CallDurations({
    name: 'rpc_server_call_duration_seconds',
    help: 'Duration of ended calls. For a stream, how long it was open.',
    secondsBounds,
    labelsOf: (method, status) => ({
      rpc_system_name: 'grpc',
      rpc_method: method,
      rpc_response_status_code: status,
      ...(isServerError(status) && { error_type: status }),
    }),
  });
  const batches = new Histogram({
    name: 'roster_batch_rows',
    help: 'Number of calls that shared a statement.',
    labelNames: ['statement'],
    buckets: rowsBounds,
    registers,
  });
  const statements = new Histogram({
    name: 'roster_statement_duration_seconds',
    help: 'Duration of shared statements, with the wait for a connection.',
    labelNames: ['statement'],
    buckets: secondsBounds,
    registers,
  });
  const importedRows = new Counter({
    name: 'roster_imported_rows_total',
    help: 'Rows of ended imports, by outcome.',
    labelNames: ['outcome'],
    registers,
  });
  const limitedCalls = new Counter({
    name: 'roster_caller_limited_calls_total',
    help: 'Calls that were refused or ended because their caller had reached a limit, by limit.',
    labelNames: ['limit'],
    registers,
  });
  addSourceMetrics(registry, () => sources);
  addProcessMetrics(registry);
  return {
    call: (method, status, durationMs) => calls.observe(method, status, durationMs),
    batch: (statement, rows) => batches.observe({ statement }, rows),
    statement: (statement, durationMs) => statements.observe({ statement }, durationMs / 1000),
    imported: (outcome, rows) => importedRows.inc({ outcome }, rows),
    limited: (limit) => limitedCalls.inc({ limit }),
    observe(more) {
      sources = { ...sources, ...more };
    },
    snapshot: async () => [await calls.snapshot(), ...(await registry.getMetricsAsJSON())],
  };
}

/** The combined metrics of several processes in Prometheus' text format. */
export function metricsText(snapshots: readonly MetricsSnapshot[]): Promise<string> {
  return AggregatorRegistry.aggregate([...snapshots]).metrics();
}

/**
 * The sums of the counters of processes that have exited. Without them the totals would decrease when a process exits,
 * and Prometheus would treat that as a restart of all processes.
 */
export async function retainedCounters(snapshots: readonly MetricsSnapshot[]): Promise<MetricsSnapshot> {
  const sums = await AggregatorRegistry.aggregate([...snapshots]).getMetricsAsJSON();
  // At run time, `type` is a string such as "counter", although prom-client declares a number. Other aggregators are
  // for values of the database, which every process reads.
  return sums.filter(({ type, aggregator }) => ['counter', 'histogram'].includes(String(type)) && aggregator === 'sum');
}
