/**
 * What a process counts and measures of itself, and the sum over several, as Prometheus reads it.
 *
 * Label values come from closed lists, never from what a caller sent or a row holds. Counting must stay cheap, as it runs
 * for each call; whatever can be read when somebody asks is read then.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';

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
  figures(): Figures;
}

/** Each is only read, and only when somebody asks for the figures. */
export interface MetricSources {
  /** By the kind of statement. */
  readonly queues: Readonly<Record<string, { readonly queued: number; readonly inFlight: number }>>;
  /** Of the database, lent to calls or not. */
  readonly connections: () => { readonly total: number; readonly idle: number; readonly waiting: number };
  readonly feed: { readonly watcherCount: number; readonly lagMs: number };
  readonly housekeeping: { readonly trimBlockerSeconds: number };
}

/** Of one name, as prom-client has it when it adds up. */
interface Figure {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  /** What several processes have of it together. */
  readonly aggregator: 'sum' | 'max' | 'min';
  readonly values: readonly {
    readonly metricName?: string;
    readonly labels: Readonly<Record<string, string | number>>;
    readonly value: number;
  }[];
}

export type Figures = readonly Figure[];

export const figuresContentType = 'text/plain; version=0.0.4; charset=utf-8';

// From an answer out of the database's memory to what most callers no longer wait for. Few, as there is one series for
// each of them, each method and each status.
const secondsBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5, 10];
// Up to what BATCH_ROWS_MAX may be.
const rowsBounds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096];

// Of the timer whose delays are taken for the event loop's. Each time it wakes an idle process costs about 90 µs (measured):
// with the 10 ms that Node and prom-client have, a hundredth of a core.
const delayEveryMs = 50;

export function createMetrics(): Metrics {
  let sources: Partial<MetricSources> = {};
  const calls = createHistogram({
    name: 'roster_call_duration_seconds',
    help: 'Calls that have ended, and how long they took; of a stream, how long it was open.',
    bounds: secondsBounds,
  });
  const callSeries = new Map<string, Map<string, Series>>();
  const batches = createHistogram({
    name: 'roster_batch_rows',
    help: 'Statements that calls share, by how many calls each of them does the work of.',
    bounds: rowsBounds,
  });
  const batchSeries = new Map<string, Series>();
  const importedRows: Record<string, number> = {};

  const ofQueues = (read: (queue: MetricSources['queues'][string]) => number) => () =>
    Object.fromEntries(Object.entries(sources.queues ?? {}).map(([kind, queue]) => [kind, read(queue)]));
  const all: readonly (() => Figure)[] = [
    calls.figure,
    batches.figure,
    gauge({
      name: 'roster_imported_rows_total',
      help: 'Rows of imports that have ended, by what became of them.',
      type: 'counter',
      label: 'outcome',
      read: () => importedRows,
    }),
    gauge({
      name: 'roster_queued_calls',
      help: 'Calls that wait for a statement that they share.',
      label: 'statement',
      read: ofQueues(({ queued }) => queued),
    }),
    gauge({
      name: 'roster_statements_in_flight',
      help: 'Statements that calls share and that the database works on.',
      label: 'statement',
      read: ofQueues(({ inFlight }) => inFlight),
    }),
    gauge({
      name: 'roster_pool_connections',
      help: 'Connections to the database that calls share.',
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
      help: 'For how long the change log has not been read to its end for watchers; 0 without any.',
      aggregator: 'max',
      read: () => (sources.feed?.lagMs ?? 0) / 1000,
    }),
    gauge({
      name: 'roster_change_log_blocker_age_seconds',
      help: 'Age of the oldest transaction or replication slot that keeps the change log from shrinking; 0 if none does.',
      aggregator: 'max',
      read: () => sources.housekeeping?.trimBlockerSeconds ?? 0,
    }),
    gauge({ name: 'roster_processes', help: 'Processes whose figures these are.', read: () => 1 }),
    ...processFigures(),
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
    // Not prom-client's labels(), which takes seven times as long.
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

    figures: () => all.map((read) => read()),
  };
}

/** Under the names that other Node services have them by, so that dashboards fit. */
function processFigures(): (() => Figure)[] {
  const memory = (name: string, help: string, field: keyof NodeJS.MemoryUsage) =>
    gauge({ name, help, read: () => process.memoryUsage()[field] });

  const delay = monitorEventLoopDelay({ resolution: delayEveryMs });
  delay.enable();
  const lag = (name: string, read: () => number) =>
    gauge({
      name,
      help: 'How late the event loop was since this was asked last; of several, the worst.',
      aggregator: 'max',
      read: () => Math.max(0, read() / 1e9 - delayEveryMs / 1000),
    });

  // Not prom-client's collectDefaultMetrics(): it watches each garbage collection, misses some of those that come
  // together, and has a hundred lines that nobody asks for.
  return [
    gauge({
      name: 'process_cpu_seconds_total',
      help: 'Time that processors have worked, in user and system mode.',
      type: 'counter',
      read() {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1e6;
      },
    }),
    gauge({
      name: 'process_start_time_seconds',
      help: 'When it started, since 1970; the first of several.',
      aggregator: 'min',
      read: () => performance.timeOrigin / 1000,
    }),
    memory('process_resident_memory_bytes', 'Memory that is not swapped out.', 'rss'),
    memory('nodejs_heap_size_total_bytes', "Memory of JavaScript's objects, with what is free of it.", 'heapTotal'),
    memory('nodejs_heap_size_used_bytes', "Memory of JavaScript's objects.", 'heapUsed'),
    memory('nodejs_external_memory_bytes', 'Memory outside of that, such as of buffers.', 'external'),
    lag('nodejs_eventloop_lag_p50_seconds', () => delay.percentile(50)),
    lag('nodejs_eventloop_lag_p99_seconds', () => delay.percentile(99)),
    // The last of them: the next ones are of what comes from here on.
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
  /** A counter is one that only grows while its process runs. */
  readonly type?: 'gauge' | 'counter';
  /** Without it `read` gives one number. */
  readonly label?: string;
  readonly aggregator?: Figure['aggregator'];
  read(): number | Readonly<Record<string, number>>;
}

/** What is only read when it is asked for. */
function gauge({ name, help, type = 'gauge', label = '', aggregator = 'sum', read }: GaugeOptions): () => Figure {
  return () => {
    const now = read();
    const values =
      typeof now === 'number'
        ? [{ labels: {}, value: now }]
        : Object.entries(now).map(([key, value]) => ({ labels: { [label]: key }, value }));
    return { name, help, type, aggregator, values };
  };
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
    figure: (): Figure => ({ name, help, type: 'histogram', aggregator: 'sum', values: all.flatMap(valuesOf) }),
    add(labels: Record<string, string>): Series {
      const series = { labels, bounds, counts: [...bounds, 0].map(() => 0), sum: 0 };
      all.push(series);
      return series;
    },
  };
}

/** Loaded by who is asked, and no earlier: a worker never needs it, and it takes time at a start. */
async function addUp(figures: readonly Figures[]) {
  const { AggregatorRegistry } = await import('prom-client');
  return AggregatorRegistry.aggregate([...figures]);
}

/** The figures of several processes added up, as Prometheus reads them. */
export async function figuresText(figures: readonly Figures[]): Promise<string> {
  return (await addUp(figures)).metrics();
}

/**
 * What is left of the figures of processes that have ended: their counters, added up. Without them totals would go back
 * whenever one ends, and Prometheus would take that for a new start of all.
 */
export async function figuresLeft(figures: readonly Figures[]): Promise<Figures> {
  // They are what it was given, whatever its types say.
  const sum = (await (await addUp(figures)).getMetricsAsJSON()) as unknown as Figures;
  return sum.filter(({ type }) => type === 'counter' || type === 'histogram');
}
