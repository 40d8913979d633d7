/**
 * The metrics of a process, and their sum over several processes, in Prometheus' text format.
 *
 * Label values come from closed lists, never from requests or rows. Calls, batches and imported rows are counted; all
 * other values are read on each scrape.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { AggregatorRegistry, Counter, Gauge, type GaugeConfiguration, Histogram, Registry } from 'prom-client';

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
  snapshot(): Promise<MetricsSnapshot>;
}

/** Values that the metrics read on each scrape. */
export interface MetricSources {
  /** By the kind of statement. */
  readonly queues: Readonly<Record<string, { readonly queued: number; readonly inFlight: number }>>;
  /** The connections of the database pool. */
  readonly connections: () => { readonly total: number; readonly idle: number; readonly waiting: number };
  readonly feed: { readonly watcherCount: number; readonly lagMs: number };
  readonly housekeeping: { readonly trimBlockerSeconds: number };
  readonly indexes: { status(): readonly ListIndexMetrics[] };
}

export interface ListIndexMetrics {
  readonly name: string;
  readonly state: string;
  readonly built: number;
  readonly bytes: number;
  readonly scans: number;
}

export type MetricsSnapshot = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

export const metricsContentType = 'text/plain; version=0.0.4; charset=utf-8';

// From a lookup that Postgres serves from memory to a time that most clients do not wait for. Few buckets, because
// there is one series for each bucket, method and status.
const secondsBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10];
// Up to the maximum of BATCH_ROWS_MAX.
const rowsBounds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096];

// The interval of the timer that measures the event loop's delay. Each wake-up of an idle process costs about 90 µs, so
// the 10 ms default of Node and prom-client would cost 1% of a core.
const delayIntervalMs = 50;

export function createMetrics(): Metrics {
  let sources: Partial<MetricSources> = {};
  const registry = new Registry();
  const registers = [registry];
  const calls = new Histogram({
    name: 'roster_call_duration_seconds',
    help: 'Duration of ended calls. For a stream, how long it was open.',
    labelNames: ['method', 'status'],
    buckets: secondsBounds,
    registers,
  });
  const batches = new Histogram({
    name: 'roster_batch_rows',
    help: 'Number of calls that shared a statement.',
    labelNames: ['statement'],
    buckets: rowsBounds,
    registers,
  });
  const importedRows = new Counter({
    name: 'roster_imported_rows_total',
    help: 'Rows of ended imports, by outcome.',
    labelNames: ['outcome'],
    registers,
  });
  addSourceMetrics(registry, () => sources);
  addProcessMetrics(registry);
  return {
    call: (method, status, durationMs) => calls.observe({ method, status }, durationMs / 1000),
    batch: (statement, rows) => batches.observe({ statement }, rows),
    imported: (outcome, rows) => importedRows.inc({ outcome }, rows),
    observe(more) {
      sources = { ...sources, ...more };
    },
    snapshot: () => registry.getMetricsAsJSON(),
  };
}

function addSourceMetrics(registry: Registry, sources: () => Partial<MetricSources>): void {
  const queues = (read: (queue: MetricSources['queues'][string]) => number) => () =>
    Object.fromEntries(Object.entries(sources().queues ?? {}).map(([kind, queue]) => [kind, read(queue)]));
  addGauge(registry, {
    name: 'roster_queued_calls',
    help: 'Calls that wait for a shared statement.',
    label: 'statement',
    read: queues(({ queued }) => queued),
  });
  addGauge(registry, {
    name: 'roster_statements_in_flight',
    help: 'Shared statements that are in flight in the database.',
    label: 'statement',
    read: queues(({ inFlight }) => inFlight),
  });
  addGauge(registry, {
    name: 'roster_pool_connections',
    help: 'Connections of the database pool, by state.',
    label: 'state',
    read() {
      const { total, idle } = sources().connections?.() ?? { total: 0, idle: 0 };
      return { busy: total - idle, idle };
    },
  });
  addGauge(registry, {
    name: 'roster_pool_waiting',
    help: 'Statements that wait for a connection.',
    read: () => sources().connections?.().waiting ?? 0,
  });
  addGauge(registry, {
    name: 'roster_watchers',
    help: 'Watchers that follow the change log.',
    read: () => sources().feed?.watcherCount ?? 0,
  });
  addGauge(registry, {
    name: 'roster_change_log_lag_seconds',
    help: 'Time since the change log was last read to its end for watchers. 0 without watchers.',
    aggregator: 'max',
    read: () => (sources().feed?.lagMs ?? 0) / 1000,
  });
  addGauge(registry, {
    name: 'roster_change_log_blocker_age_seconds',
    help: 'Age of the oldest transaction or replication slot that keeps the change log from shrinking; 0 if none does.',
    aggregator: 'max',
    read: () => sources().housekeeping?.trimBlockerSeconds ?? 0,
  });
  addListIndexMetrics(registry, () => sources().indexes?.status() ?? []);
  addGauge(registry, { name: 'roster_processes', help: 'Number of processes in these metrics.', read: () => 1 });
}

/** All processes read them from the same database, so the maximum is the latest value. */
function addListIndexMetrics(registry: Registry, status: () => readonly ListIndexMetrics[]): void {
  const gauge = (name: string, help: string, read: (index: ListIndexMetrics) => number | undefined) =>
    addGauge(registry, {
      name,
      help,
      label: 'index',
      aggregator: 'max',
      read: () =>
        Object.fromEntries(
          status().flatMap((index) => {
            const value = read(index);
            return value === undefined ? [] : [[index.name, value]];
          }),
        ),
    });
  gauge('roster_list_index_size_bytes', 'Size of the index for lists; 0 if lists cannot use it.', ({ state, bytes }) =>
    state === 'exists' ? bytes : 0,
  );
  gauge('roster_list_index_scans', 'How often Postgres has used the index for lists.', ({ scans }) => scans);
  gauge('roster_list_index_built_ratio', 'Built part of an index for lists that is being built.', ({ state, built }) =>
    state === 'building' ? built : undefined,
  );
}

/**
 * Adds the metrics of the process, with prom-client's default names, so that existing dashboards work. prom-client's
 * own collectDefaultMetrics() also observes each garbage collection, and adds a hundred lines that are not needed.
 */
function addProcessMetrics(registry: Registry): void {
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time in user and system mode.',
    registers: [registry],
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  addGauge(registry, {
    name: 'process_start_time_seconds',
    help: 'Start time in seconds since 1970; the earliest of all processes.',
    aggregator: 'min',
    read: () => performance.timeOrigin / 1000,
  });
  const memory = (name: string, help: string, field: keyof NodeJS.MemoryUsage) =>
    addGauge(registry, { name, help, read: () => process.memoryUsage()[field] });
  memory('process_resident_memory_bytes', 'Resident memory.', 'rss');
  memory('nodejs_heap_size_total_bytes', 'Size of the JavaScript heap.', 'heapTotal');
  memory('nodejs_heap_size_used_bytes', 'Used part of the JavaScript heap.', 'heapUsed');
  memory('nodejs_external_memory_bytes', 'Memory outside the JavaScript heap, such as buffers.', 'external');

  const delay = monitorEventLoopDelay({ resolution: delayIntervalMs });
  delay.enable();
  const lag = (name: string, read: () => number) =>
    addGauge(registry, {
      name,
      help: 'Delay of the event loop since the last scrape; the maximum of all processes.',
      aggregator: 'max',
      read: () => Math.max(0, read() / 1e9 - delayIntervalMs / 1000),
    });
  lag('nodejs_eventloop_lag_p50_seconds', () => delay.percentile(50));
  lag('nodejs_eventloop_lag_p99_seconds', () => delay.percentile(99));
  // Must be the last of the three, because it resets the histogram.
  lag('nodejs_eventloop_lag_max_seconds', () => {
    const { max } = delay;
    delay.reset();
    return max;
  });
}

interface GaugeOptions extends Pick<GaugeConfiguration<string>, 'name' | 'help' | 'aggregator'> {
  /** Without a label, `read` returns one number. */
  readonly label?: string;
  read(): number | Readonly<Record<string, number>>;
}

/** Adds a metric that is read only on each scrape. */
function addGauge(registry: Registry, { label, read, ...options }: GaugeOptions): void {
  new Gauge<string>({
    ...options,
    labelNames: label === undefined ? [] : [label],
    registers: [registry],
    collect() {
      const now = read();
      this.reset();
      if (typeof now === 'number') this.set(now);
      else for (const [value, number] of Object.entries(now)) this.labels(value).set(number);
    },
  });
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
  // At run time, `type` is a string such as "counter", although prom-client declares a number.
  return sums.filter(({ type }) => ['counter', 'histogram'].includes(String(type)));
}
