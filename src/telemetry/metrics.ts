/**
 * What a process counts and measures of itself, and the sum over several, as Prometheus reads it.
 *
 * Label values come from closed lists, never from what a caller sent or a row holds. Counting must stay cheap, as it runs
 * for each call; whatever can be read when somebody asks is read then.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { AggregatorRegistry, Counter, Gauge, Histogram, Registry } from 'prom-client';

export interface Metrics {
  /** Counts a call that has ended. Method and status must be of a closed list. */
  call(method: string, status: string, durationMs: number): void;
  /** Counts a statement that does the work of so many calls. */
  batch(statement: string, rows: number): void;
  /** Counts rows that an import has done something with. */
  imported(outcome: string, rows: number): void;
  /** What is asked for its state whenever the figures are. */
  observe(sources: Partial<MetricSources>): void;
  /** All figures of this process now, in a form that goes through a channel to another one. */
  figures(): Promise<Figures>;
}

/** Each is only read, and only when somebody asks for the figures. */
export interface MetricSources {
  /** By the kind of statement. */
  readonly queues: Readonly<Record<string, { readonly queued: number; readonly inFlight: number }>>;
  /** Of the database, lent to calls or not. */
  readonly connections: () => { readonly total: number; readonly idle: number; readonly waiting: number };
  readonly feed: { readonly watcherCount: number; readonly lagMs: number };
}

export type Figures = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

export const figuresContentType = Registry.PROMETHEUS_CONTENT_TYPE;

// From an answer out of the database's memory to what most callers no longer wait for. Few, as there is one series for
// each of them, each method and each status.
const secondsBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10];
// Up to what BATCH_ROWS_MAX may be.
const rowsBounds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096];

// Of the timer whose delays are taken for the event loop's. Each time it wakes an idle process costs about 90 µs (measured):
// with the 10 ms that Node and prom-client have, a hundredth of a core.
const delayEveryMs = 50;

export function createMetrics(): Metrics {
  // Not prom-client's global one, which several services in one process, as in tests, would share.
  const registry = new Registry();
  const registers = [registry];
  let sources: Partial<MetricSources> = {};

  const calls = countedHistogram(registry, {
    name: 'roster_call_duration_seconds',
    help: 'Calls that have ended, and how long they took; of a stream, how long it was open.',
    bounds: secondsBounds,
  });
  const callSeries = new Map<string, Map<string, Series>>();
  const batches = countedHistogram(registry, {
    name: 'roster_batch_rows',
    help: 'Statements that calls share, by how many calls each of them does the work of.',
    bounds: rowsBounds,
  });
  const batchSeries = new Map<string, Series>();
  const importedRows = new Counter({
    name: 'roster_imported_rows_total',
    help: 'Rows of imports that have ended, by what became of them.',
    labelNames: ['outcome'],
    registers,
  });

  const ofQueues = (read: (queue: MetricSources['queues'][string]) => number) => () =>
    Object.fromEntries(Object.entries(sources.queues ?? {}).map(([kind, queue]) => [kind, read(queue)]));
  addGauge(registry, {
    name: 'roster_queued_calls',
    help: 'Calls that wait for a statement that they share.',
    label: 'statement',
    read: ofQueues(({ queued }) => queued),
  });
  addGauge(registry, {
    name: 'roster_statements_in_flight',
    help: 'Statements that calls share and that the database works on.',
    label: 'statement',
    read: ofQueues(({ inFlight }) => inFlight),
  });
  addGauge(registry, {
    name: 'roster_pool_connections',
    help: 'Connections to the database that calls share.',
    label: 'state',
    read() {
      const { total, idle } = sources.connections?.() ?? { total: 0, idle: 0 };
      return { busy: total - idle, idle };
    },
  });
  addGauge(registry, {
    name: 'roster_pool_waiting',
    help: 'Statements that wait for a connection.',
    read: () => sources.connections?.().waiting ?? 0,
  });
  addGauge(registry, {
    name: 'roster_watchers',
    help: 'Watchers that follow the change log.',
    read: () => sources.feed?.watcherCount ?? 0,
  });
  addGauge(registry, {
    name: 'roster_change_log_lag_seconds',
    help: 'For how long the change log has not been read to its end for watchers; 0 without any.',
    aggregator: 'max',
    read: () => (sources.feed?.lagMs ?? 0) / 1000,
  });
  addGauge(registry, { name: 'roster_processes', help: 'Processes whose figures these are.', read: () => 1 });
  addProcessFigures(registry);

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
    // By maps and not by prom-client's labels(), which takes longer than all else that is done here.
    call(method, status, durationMs) {
      const series = callSeries.get(method)?.get(status) ?? addCallSeries(method, status);
      count(series, durationMs / 1000);
    },

    batch(statement, rows) {
      const series = batchSeries.get(statement) ?? addBatchSeries(statement);
      count(series, rows);
    },

    imported: (outcome, rows) => importedRows.inc({ outcome }, rows),

    observe(more) {
      sources = { ...sources, ...more };
    },

    figures: () => registry.getMetricsAsJSON(),
  };
}

/** Under the names that other Node services have them by, so that dashboards fit. */
function addProcessFigures(registry: Registry): void {
  // Not prom-client's collectDefaultMetrics(): it watches each garbage collection, misses some of those that come
  // together, and has a hundred lines that nobody asks for.
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'Time that processors have worked, in user and system mode.',
    registers: [registry],
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
  addGauge(registry, {
    name: 'process_start_time_seconds',
    help: 'When it started, since 1970; the first of several.',
    aggregator: 'min',
    read: () => performance.timeOrigin / 1000,
  });
  const memory: readonly [string, string, keyof NodeJS.MemoryUsage][] = [
    ['process_resident_memory_bytes', 'Memory that is not swapped out.', 'rss'],
    ['nodejs_heap_size_total_bytes', "Memory of JavaScript's objects, with what is free of it.", 'heapTotal'],
    ['nodejs_heap_size_used_bytes', "Memory of JavaScript's objects.", 'heapUsed'],
    ['nodejs_external_memory_bytes', 'Memory outside of that, such as of buffers.', 'external'],
  ];
  for (const [name, help, field] of memory)
    addGauge(registry, { name, help, read: () => process.memoryUsage()[field] });

  const delay = monitorEventLoopDelay({ resolution: delayEveryMs });
  delay.enable();
  const secondsOf = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - delayEveryMs / 1000);
  const worst = {
    help: 'How late the event loop was since this was asked last; of several, the worst.',
    aggregator: 'max',
  } as const;
  const addDelay = (name: string, read: () => number) => addGauge(registry, { ...worst, name, read });
  addDelay('nodejs_eventloop_lag_p50_seconds', () => secondsOf(delay.percentile(50)));
  addDelay('nodejs_eventloop_lag_p99_seconds', () => secondsOf(delay.percentile(99)));
  addDelay('nodejs_eventloop_lag_max_seconds', () => {
    const seconds = secondsOf(delay.max);
    delay.reset();
    return seconds;
  });
}

interface GaugeOptions {
  readonly name: string;
  readonly help: string;
  /** Without it `read` gives one number. */
  readonly label?: string;
  /** Of several processes. */
  readonly aggregator?: 'sum' | 'max' | 'min';
  read(): number | Readonly<Record<string, number>>;
}

function addGauge(registry: Registry, { name, help, label, aggregator = 'sum', read }: GaugeOptions): void {
  new Gauge({
    name,
    help,
    aggregator,
    labelNames: label === undefined ? [] : [label],
    registers: [registry],
    collect() {
      const values = read();
      if (typeof values === 'number') this.set(values);
      else if (label !== undefined)
        for (const [key, value] of Object.entries(values)) this.set({ [label]: key }, value);
    },
  });
}

/** One line of a histogram: how many values there were up to each bound and not up to the one before, and their sum. */
interface Series {
  readonly labels: Record<string, string>;
  readonly bounds: readonly number[];
  /** One more than there are bounds. */
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

/** A histogram of prom-client's whose numbers are kept here, and handed over when they are asked for. */
function countedHistogram(
  registry: Registry,
  { name, help, bounds }: { name: string; help: string; bounds: readonly number[] },
): { add(labels: Record<string, string>): Series } {
  const all: Series[] = [];
  const histogram = new Histogram({ name, help, buckets: [...bounds], registers: [registry] });
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
  const { type, aggregator } = histogram as unknown as Figures[number];
  // What getMetricsAsJSON() calls.
  Object.assign(histogram, {
    get: async () => ({ name, help, type, aggregator, values: all.flatMap(valuesOf) }),
  });
  return {
    add(labels) {
      const series = { labels, bounds, counts: [...bounds, 0].map(() => 0), sum: 0 };
      all.push(series);
      return series;
    },
  };
}

/** The figures of several processes added up, as Prometheus reads them. */
export function figuresText(figures: readonly Figures[]): Promise<string> {
  return AggregatorRegistry.aggregate([...figures]).metrics();
}

/**
 * What is left of the figures of processes that have ended: their counters, added up. Without them totals would go back
 * whenever one ends, and Prometheus would take that for a new start of all.
 */
export async function figuresLeft(figures: readonly Figures[]): Promise<Figures> {
  const sum = await AggregatorRegistry.aggregate([...figures]).getMetricsAsJSON();
  return sum.filter(({ type }) => String(type) === 'counter' || String(type) === 'histogram');
}
