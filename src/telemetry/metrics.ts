/**
 * The metrics of a process, and their sum over several processes, in Prometheus' text format.
 *
 * Label values come from closed lists, never from requests or rows. Counting must stay cheap because it runs for each call;
 * all other values are read on each scrape.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';

export interface Metrics {
  /** Counts an ended call. Method and status must come from closed lists. */
  call(method: string, status: string, durationMs: number): void;
  /** Counts a statement that `rows` calls shared. */
  batch(statement: string, rows: number): void;
  /** Counts rows of an import. */
  imported(outcome: string, rows: number): void;
  /** Adds sources, which are read on each scrape. */
  observe(sources: Partial<MetricSources>): void;
  /** The current metrics of this process, in a form that can be sent to another process. */
  snapshot(): MetricsSnapshot;
}

/** Read only on each scrape. */
export interface MetricSources {
  /** By the kind of statement. */
  readonly queues: Readonly<Record<string, { readonly queued: number; readonly inFlight: number }>>;
  /** The connections of the database pool. */
  readonly connections: () => { readonly total: number; readonly idle: number; readonly waiting: number };
  readonly feed: { readonly watcherCount: number; readonly lagMs: number };
  readonly housekeeping: { readonly trimBlockerSeconds: number };
}

/** One metric, in the form that prom-client aggregates. */
interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** How to combine the values of several processes. */
  readonly aggregator: 'sum' | 'max' | 'min';
  readonly values: readonly {
    readonly metricName?: string;
    readonly labels: Readonly<Record<string, string | number>>;
    readonly value: number;
  }[];
}

export type MetricsSnapshot = readonly Metric[];

export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8';

// From an answer from Postgres' memory to a time that most callers do not wait for. Few buckets, because there is one
// series for each bucket, method and status.
const secondsBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10];
// Up to the maximum of BATCH_ROWS_MAX.
const rowsBounds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096];

// The interval of the timer that measures the event loop's delay. Each wake-up of an idle process costs about 90 µs, so the
// 10 ms default of Node and prom-client would cost a hundredth of a core.
const delayIntervalMs = 50;

export function createMetrics(): Metrics {
  let sources: Partial<MetricSources> = {};
  const calls = createHistogram({
    name: 'roster_call_duration_seconds',
    help: 'Duration of ended calls. For a stream, how long it was open.',
    bounds: secondsBounds,
  });
  const callSeries = new Map<string, Map<string, Series>>();
  const batches = createHistogram({
    name: 'roster_batch_rows',
    help: 'Number of calls that shared a statement.',
    bounds: rowsBounds,
  });
  const batchSeries = new Map<string, Series>();
  const importedRows: Record<string, number> = {};

  const queueValues = (read: (queue: MetricSources['queues'][string]) => number) => () =>
    Object.fromEntries(Object.entries(sources.queues ?? {}).map(([kind, queue]) => [kind, read(queue)]));
  const all: readonly (() => Metric)[] = [
    calls.metric,
    batches.metric,
    gauge({
      name: 'roster_imported_rows_total',
      help: 'Rows of ended imports, by outcome.',
      type: 'counter',
      label: 'outcome',
      read: () => importedRows,
    }),
    gauge({
      name: 'roster_queued_calls',
      help: 'Calls that wait for a shared statement.',
      label: 'statement',
      read: queueValues(({ queued }) => queued),
    }),
    gauge({
      name: 'roster_statements_in_flight',
      help: 'Shared statements that are in flight in the database.',
      label: 'statement',
      read: queueValues(({ inFlight }) => inFlight),
    }),
    gauge({
      name: 'roster_pool_connections',
      help: 'Connections of the database pool, by state.',
      label: 'state',
      read() {
        const { total, idle } = sources.connections?.() ?? { total: 0, idle: 0 };
        return { busy: total - idle, idle };
      },
    }),
    gauge({
      name: 'roster_pool_waiting',
      help: 'Statements that wait for a connection.',
      read: () => sources.connections?.().waiting ?? 0,
    }),
    gauge({
      name: 'roster_watchers',
      help: 'Watchers that follow the change log.',
      read: () => sources.feed?.watcherCount ?? 0,
    }),
    gauge({
      name: 'roster_change_log_lag_seconds',
      help: 'Time since the change log was last read to its end for watchers. 0 without watchers.',
      aggregator: 'max',
      read: () => (sources.feed?.lagMs ?? 0) / 1000,
    }),
    gauge({
      name: 'roster_change_log_blocker_age_seconds',
      help: 'Age of the oldest transaction or replication slot that keeps the change log from shrinking; 0 if none does.',
      aggregator: 'max',
      read: () => sources.housekeeping?.trimBlockerSeconds ?? 0,
    }),
    gauge({ name: 'roster_processes', help: 'Number of processes in these metrics.', read: () => 1 }),
    ...processMetrics(),
  ];

  function addCallSeries(method: string, status: string): Series {
    const series = calls.add({ method, status });
    const ofMethod = callSeries.get(method) ?? new Map<string, Series>();
    callSeries.set(method, ofMethod.set(status, series));
    return series;
  }

  function addBatchSeries(statement: string): Series {
    const series = batches.add({ statement });
    batchSeries.set(statement, series);
    return series;
  }

  return {
    // prom-client's labels() takes seven times as long.
    call(method, status, durationMs) {
      const series = callSeries.get(method)?.get(status) ?? addCallSeries(method, status);
      count(series, durationMs / 1000);
    },

    batch(statement, rows) {
      const series = batchSeries.get(statement) ?? addBatchSeries(statement);
      count(series, rows);
    },

    imported(outcome, rows) {
      importedRows[outcome] = (importedRows[outcome] ?? 0) + rows;
    },

    observe(more) {
      sources = { ...sources, ...more };
    },

    snapshot: () => all.map((read) => read()),
  };
}

/** Uses prom-client's default names, so that existing dashboards work. */
function processMetrics(): (() => Metric)[] {
  const memory = (name: string, help: string, field: keyof NodeJS.MemoryUsage) =>
    gauge({ name, help, read: () => process.memoryUsage()[field] });

  const delay = monitorEventLoopDelay({ resolution: delayIntervalMs });
  delay.enable();
  const lag = (name: string, read: () => number) =>
    gauge({
      name,
      help: 'Delay of the event loop since the last scrape; the maximum of all processes.',
      aggregator: 'max',
      read: () => Math.max(0, read() / 1e9 - delayIntervalMs / 1000),
    });

  // prom-client's collectDefaultMetrics() observes each garbage collection, misses some that happen together, and adds a
  // hundred lines that are not needed.
  return [
    gauge({
      name: 'process_cpu_seconds_total',
      help: 'CPU time in user and system mode.',
      type: 'counter',
      read() {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1e6;
      },
    }),
    gauge({
      name: 'process_start_time_seconds',
      help: 'Start time in seconds since 1970; the earliest of all processes.',
      aggregator: 'min',
      read: () => performance.timeOrigin / 1000,
    }),
    memory('process_resident_memory_bytes', 'Resident memory.', 'rss'),
    memory('nodejs_heap_size_total_bytes', 'Size of the JavaScript heap.', 'heapTotal'),
    memory('nodejs_heap_size_used_bytes', 'Used part of the JavaScript heap.', 'heapUsed'),
    memory('nodejs_external_memory_bytes', 'Memory outside the JavaScript heap, such as buffers.', 'external'),
    lag('nodejs_eventloop_lag_p50_seconds', () => delay.percentile(50)),
    lag('nodejs_eventloop_lag_p99_seconds', () => delay.percentile(99)),
    // Must be the last of the three, because it resets the histogram.
    lag('nodejs_eventloop_lag_max_seconds', () => {
      const { max } = delay;
      delay.reset();
      return max;
    }),
  ];
}

interface GaugeOptions {
  readonly name: string;
  readonly help: string;
  /** A counter only grows while its process runs. */
  readonly type?: 'gauge' | 'counter';
  /** Without a label, `read` returns one number. */
  readonly label?: string;
  readonly aggregator?: Metric['aggregator'];
  read(): number | Readonly<Record<string, number>>;
}

/** A metric that is read only on each scrape. */
function gauge({ name, help, type = 'gauge', label = '', aggregator = 'sum', read }: GaugeOptions): () => Metric {
  return () => {
    const now = read();
    const values =
      typeof now === 'number'
        ? [{ labels: {}, value: now }]
        : Object.entries(now).map(([key, value]) => ({ labels: { [label]: key }, value }));
    return { name, help, type, aggregator, values };
  };
}

/** One label set of a histogram: the number of values in each bucket, and their sum. */
interface Series {
  readonly labels: Record<string, string>;
  readonly bounds: readonly number[];
  /** One more than `bounds`. */
  readonly counts: number[];
  sum: number;
}

function count(series: Series, value: number): void {
  const { bounds, counts } = series;
  let at = 0;
  while (value > (bounds[at] ?? Number.POSITIVE_INFINITY)) at++;
  counts[at] = (counts[at] ?? 0) + 1;
  series.sum += value;
}

function createHistogram({ name, help, bounds }: { name: string; help: string; bounds: readonly number[] }) {
  const all: Series[] = [];
  const valuesOf = ({ labels, counts, sum }: Series) => {
    let total = 0;
    const buckets = counts.map((count, at) => {
      total += count;
      return { metricName: `${name}_bucket`, labels: { le: bounds[at] ?? '+Inf', ...labels }, value: total };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: sum },
      { metricName: `${name}_count`, labels, value: total },
    ];
  };
  return {
    metric: (): Metric => ({ name, help, type: 'histogram', aggregator: 'sum', values: all.flatMap(valuesOf) }),
    add(labels: Record<string, string>): Series {
      const series = { labels, bounds, counts: [...bounds, 0].map(() => 0), sum: 0 };
      all.push(series);
      return series;
    },
  };
}

/** Loads prom-client lazily, on the first scrape: workers do not need it, and it slows the start. */
async function aggregate(snapshot: readonly MetricsSnapshot[]) {
  const { AggregatorRegistry } = await import('prom-client');
  return AggregatorRegistry.aggregate([...snapshot]);
}

/** The combined metrics of several processes in Prometheus' text format. */
export async function metricsText(snapshot: readonly MetricsSnapshot[]): Promise<string> {
  return (await aggregate(snapshot)).metrics();
}

/**
 * The sums of the counters of processes that have exited. Without them the totals would decrease when a process exits, and
 * Prometheus would treat that as a restart of all processes.
 */
export async function retainedCounters(snapshot: readonly MetricsSnapshot[]): Promise<MetricsSnapshot> {
  // prom-client returns the objects that it was given; its types do not say so.
  const sum = (await (await aggregate(snapshot)).getMetricsAsJSON()) as unknown as MetricsSnapshot;
  return sum.filter(({ type }) => type === 'counter' || type === 'histogram');
}
