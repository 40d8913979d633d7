/**
 * Parses the server's metrics, in Prometheus' text format, and computes what happened between two samples. If a counter
 * has decreased, the server was restarted and counts from 0 again.
 */
import { methodPath } from '../calls/caller.js';

/** One sample of the metrics: by name, then by the text of the labels. */
export type Metrics = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** Ignores invalid lines. */
export function parseMetrics(text: string): Metrics {
  const metrics = new Map<string, Map<string, number>>();
  for (const [, name = '', labels = '', value = ''] of text.matchAll(/^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/gm)) {
    const series = metrics.get(name) ?? new Map<string, number>();
    metrics.set(name, series.set(labels, Number(value.replace('Inf', 'Infinity'))));
  }
  return metrics;
}

/** The metrics of one interval. A value is undefined if it is unknown, such as the latency without calls. */
export interface MetricsSample {
  readonly atMs: number;
  readonly callsPerSecond: number;
  /** Calls that did not end with OK. */
  readonly failedPerSecond: number;
  /** In seconds, without streams, because clients keep those open. */
  readonly p50: number | undefined;
  readonly p95: number | undefined;
  /** The average number of calls that shared a statement, by kind of statement. */
  readonly batchRows: ReadonlyMap<string, number>;
  readonly watchers: number | undefined;
  /** In seconds. */
  readonly changeLogLag: number | undefined;
  readonly poolBusy: number | undefined;
  readonly poolIdle: number | undefined;
  readonly poolWaiting: number | undefined;
  readonly loopDelay: number | undefined;
  /** CPU seconds per second. */
  readonly processors: number | undefined;
  readonly memoryBytes: number | undefined;
  readonly indexes: readonly ListIndexSample[];
}

/** An index for lists by name or for searches. */
export interface ListIndexSample {
  readonly name: string;
  /** 0 if it does not exist, or not yet. */
  readonly bytes: number;
  readonly scans: number;
  /** From 0 to 1 while the index is being built. */
  readonly built: number | undefined;
}

// Their durations say nothing about the server.
const streams = (['importUsers', 'exportUsers', 'watchUsers', 'resolveUsers'] as const).map(
  (method) => `rpc_method="${methodPath(method).slice(1)}"`,
);

const calls = 'rpc_server_call_duration_seconds';
const batches = 'roster_batch_rows';

/** `seconds` is the time between the two samples. */
export function sampleBetween(before: Metrics, now: Metrics, seconds: number, atMs: number): MetricsSample {
  const grown = (name: string, includes: (labels: string) => boolean = () => true) =>
    growth(before.get(name), now.get(name), includes);
  const sum = (name: string, includes?: (labels: string) => boolean) =>
    grown(name, includes).reduce((total, [, value]) => total + value, 0);
  const gauge = (name: string, labels = '') => now.get(name)?.get(labels);

  const durations = grown(`${calls}_bucket`, (labels) => !streams.some((stream) => labels.includes(stream)));
  const batchRows = new Map<string, number>();
  const batchSums = new Map(grown(`${batches}_sum`));
  for (const [labels, count] of grown(`${batches}_count`)) {
    if (count > 0) batchRows.set(labelValue(labels, 'statement'), (batchSums.get(labels) ?? 0) / count);
  }
  const cpu = 'process_cpu_seconds_total';
  return {
    atMs,
    callsPerSecond: sum(`${calls}_count`) / seconds,
    failedPerSecond: sum(`${calls}_count`, (labels) => !labels.includes('rpc_response_status_code="OK"')) / seconds,
    p50: quantile(0.5, durations),
    p95: quantile(0.95, durations),
    batchRows,
    watchers: gauge('roster_watchers'),
    changeLogLag: gauge('roster_change_log_lag_seconds'),
    poolBusy: gauge('roster_pool_connections', 'state="busy"'),
    poolIdle: gauge('roster_pool_connections', 'state="idle"'),
    poolWaiting: gauge('roster_pool_waiting_statements'),
    loopDelay: gauge('nodejs_eventloop_lag_p99_seconds'),
    processors: now.has(cpu) ? sum(cpu) / seconds : undefined,
    memoryBytes: gauge('process_resident_memory_bytes'),
    indexes: [...(now.get('roster_list_index_size_bytes') ?? [])].map(([labels, bytes]) => ({
      name: labelValue(labels, 'index'),
      bytes,
      scans: gauge('roster_list_index_scans_total', labels) ?? 0,
      built: gauge('roster_list_index_built_ratio', labels),
    })),
  };
}

function growth(
  before: ReadonlyMap<string, number> | undefined,
  now: ReadonlyMap<string, number> | undefined,
  includes: (labels: string) => boolean,
): [string, number][] {
  return [...(now ?? [])]
    .filter(([labels]) => includes(labels))
    .map(([labels, value]) => {
      const last = before?.get(labels) ?? 0;
      return [labels, value < last ? value : value - last];
    });
}

function labelValue(labels: string, name: string): string {
  return new RegExp(`(?:^|,)${name}="((?:[^"\\\\]|\\\\.)*)"`).exec(labels)?.[1] ?? '';
}

/**
 * Interpolates in the bucket, as Prometheus' histogram_quantile does. Above the last bound it returns that bound, and
 * without values undefined.
 */
export function quantile(
  share: number,
  buckets: readonly (readonly [labels: string, count: number])[],
): number | undefined {
  const totals = new Map<number, number>();
  for (const [labels, count] of buckets) {
    const bound = Number(labelValue(labels, 'le').replace('Inf', 'Infinity'));
    totals.set(bound, (totals.get(bound) ?? 0) + count);
  }
  const sorted = [...totals].sort(([a], [b]) => a - b);
  const total = sorted.at(-1)?.[1] ?? 0;
  if (total === 0) return undefined;
  const rank = share * total;
  let lower = 0;
  let below = 0;
  for (const [bound, count] of sorted) {
    if (count >= rank) {
      if (bound === Number.POSITIVE_INFINITY) return lower;
      return lower + ((bound - lower) * (rank - below)) / Math.max(1e-9, count - below);
    }
    lower = bound;
    below = count;
  }
  return lower;
}
