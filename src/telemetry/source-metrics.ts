/** The metrics of a process's parts, which are read on each scrape. A part that a process does not have has no metrics. */
import { Counter, Gauge, type GaugeConfiguration, type Registry } from 'prom-client';

/** Values that the metrics read on each scrape. */
export interface MetricSources {
  /** The number of calls without a status, by method. */
  readonly callsInFlight: () => Readonly<Record<string, number>>;
  /** By the kind of statement. */
  readonly queues: Readonly<Record<string, { readonly queued: number; readonly inFlight: number }>>;
  /** The connections of the database pool. */
  readonly connections: () => Readonly<Record<'total' | 'idle' | 'waiting' | 'max', number>>;
  readonly database: { readonly isUp: boolean };
  /** Set only if there are replicas. */
  readonly servesOnlyReads: (() => boolean) | undefined;
  readonly timelines: { readonly timeline: number };
  readonly hostWatch: { readonly primaries: number };
  readonly replicas: {
    readonly status: () => readonly ReplicaMetrics[];
    readonly reads: Readonly<Record<string, number>>;
  };
  readonly feed: { readonly watcherCount: number; readonly lagMs: number };
  readonly housekeeping: { readonly trimBlockerSeconds: number };
  readonly indexes: { status(): readonly ListIndexMetrics[] };
  readonly tables: { sizes(): readonly TableMetrics[] };
  readonly heldBytes: () => { readonly total: number; readonly max: number };
  /** When the server's certificate expires, in seconds since 1970. */
  readonly certificateExpiry: () => number;
  readonly auditLog: { readonly failures: number };
  /** The number of workers that have exited unexpectedly. */
  readonly workerExits: () => number;
}

export interface ReplicaMetrics {
  readonly replica: string;
  readonly isUsed: boolean;
  readonly lagMs: number | undefined;
  readonly lagBytes: number;
}

export interface ListIndexMetrics {
  readonly name: string;
  readonly state: string;
  readonly built: number;
  readonly bytes: number;
  readonly scans: number;
}

export interface TableMetrics {
  readonly table: string;
  readonly rows: number;
  readonly bytes: number;
}

const indexStates = ['exists', 'missing', 'building', 'unusable'];

export function addSourceMetrics(registry: Registry, sources: () => Partial<MetricSources>): void {
  addCallMetrics(registry, sources);
  addPoolMetrics(registry, sources);
  addReplicaMetrics(registry, () => sources().replicas);
  addChangeLogMetrics(registry, sources);
  addTableMetrics(registry, () => sources().tables?.sizes());
  addListIndexMetrics(registry, () => sources().indexes?.status());
  addGauge(registry, {
    name: 'roster_held_bytes',
    help: 'Bytes of requests that are arriving, and of responses that clients have not read.',
    read: () => sources().heldBytes?.().total,
  });
  addGauge(registry, {
    name: 'roster_held_bytes_max',
    help: 'The limit of roster_held_bytes (BUFFERED_BYTES_MAX).',
    read: () => sources().heldBytes?.().max,
  });
  addGauge(registry, {
    name: 'roster_certificate_expiry_timestamp_seconds',
    help: 'When the certificate expires, in seconds since 1970; the earliest of all processes.',
    aggregator: 'min',
    read: () => sources().certificateExpiry?.(),
  });
  addCounter(registry, {
    name: 'roster_audit_log_failures_total',
    help: 'Failed attempts to write the audit log (AUDIT_LOG), one a second while it cannot be written.',
    read: () => sources().auditLog?.failures,
  });
  addCounter(registry, {
    name: 'roster_worker_exits_total',
    help: 'Workers that exited unexpectedly.',
    read: () => sources().workerExits?.(),
  });
  addGauge(registry, { name: 'roster_processes', help: 'Number of processes in these metrics.', read: () => 1 });
}

function addCallMetrics(registry: Registry, sources: () => Partial<MetricSources>): void {
  addGauge(registry, {
    name: 'roster_calls_in_flight',
    help: 'Calls that have no status yet.',
    label: 'rpc_method',
    read: () => sources().callsInFlight?.(),
  });
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
}

function addPoolMetrics(registry: Registry, sources: () => Partial<MetricSources>): void {
  addGauge(registry, {
    name: 'roster_database_up',
    help: 'Whether calls can use the database: 1, or 0 if one of the processes cannot.',
    aggregator: 'min',
    read() {
      const { database } = sources();
      return database && Number(database.isUp);
    },
  });
  addGauge(registry, {
    name: 'roster_serves_only_reads',
    help: 'Whether one of the processes serves only reads, because it cannot reach the primary: 1 or 0.',
    aggregator: 'max',
    read() {
      const serves = sources().servesOnlyReads?.();
      return serves === undefined ? undefined : Number(serves);
    },
  });
  addGauge(registry, {
    name: 'roster_database_timeline',
    help: "Number of Postgres' timeline, which increases with each promotion of a standby.",
    aggregator: 'max',
    read: () => sources().timelines?.timeline,
  });
  addGauge(registry, {
    name: 'roster_database_primaries',
    help: 'Hosts of DATABASE_URL that accept writes, if it has several hosts.',
    aggregator: 'max',
    read: () => sources().hostWatch?.primaries,
  });
  addGauge(registry, {
    name: 'roster_pool_connections',
    help: 'Connections of the database pool, by state.',
    label: 'state',
    read() {
      const connections = sources().connections?.();
      return connections && { busy: connections.total - connections.idle, idle: connections.idle };
    },
  });
  addGauge(registry, {
    name: 'roster_pool_connections_max',
    help: 'The limit of roster_pool_connections (DATABASE_CONNECTIONS_MAX).',
    read: () => sources().connections?.().max,
  });
  addGauge(registry, {
    name: 'roster_pool_waiting_statements',
    help: 'Statements that wait for a connection.',
    read: () => sources().connections?.().waiting,
  });
}

function addReplicaMetrics(registry: Registry, replicas: () => MetricSources['replicas'] | undefined): void {
  const byReplica = (read: (replica: ReplicaMetrics) => number | undefined) => () =>
    Object.fromEntries(
      (replicas()?.status() ?? []).flatMap((status) => {
        const value = read(status);
        return value === undefined ? [] : [[status.replica, value]];
      }),
    );
  addGauge(registry, {
    name: 'roster_replica_used',
    help: 'Whether reads use the replica: 1, or 0 if one of the processes does not.',
    label: 'replica',
    aggregator: 'min',
    read: byReplica(({ isUsed }) => Number(isUsed)),
  });
  addGauge(registry, {
    name: 'roster_replica_lag_seconds',
    help: "Age of the replica's data at the last check. 0 if it had replayed the whole log of the primary.",
    label: 'replica',
    aggregator: 'max',
    read: byReplica(({ lagMs }) => lagMs && lagMs / 1000),
  });
  addGauge(registry, {
    name: 'roster_replica_lag_bytes',
    help: "Bytes of the primary's log that the replica has not replayed.",
    label: 'replica',
    aggregator: 'max',
    read: byReplica(({ lagBytes }) => lagBytes),
  });
  addCounter(registry, {
    name: 'roster_replica_reads_total',
    help: 'Reads that may use a replica, by what served them: a replica, or the primary for one of the reasons.',
    label: 'outcome',
    read: () => replicas()?.reads,
  });
}

function addChangeLogMetrics(registry: Registry, sources: () => Partial<MetricSources>): void {
  addGauge(registry, {
    name: 'roster_watchers',
    help: 'Watchers that follow the change log.',
    read: () => sources().feed?.watcherCount,
  });
  addGauge(registry, {
    name: 'roster_change_log_lag_seconds',
    help: 'Time since the change log was last read to its end for watchers. 0 without watchers.',
    aggregator: 'max',
    read() {
      const { feed } = sources();
      return feed && feed.lagMs / 1000;
    },
  });
  addGauge(registry, {
    name: 'roster_change_log_blocker_age_seconds',
    help: 'Age of the oldest transaction or replication slot that keeps the change log from shrinking; 0 if none does.',
    aggregator: 'max',
    read: () => sources().housekeeping?.trimBlockerSeconds,
  });
}

/** All processes read them from the same database, so the maximum is the latest value. */
function addTableMetrics(registry: Registry, sizes: () => readonly TableMetrics[] | undefined): void {
  const gauge = (name: string, help: string, read: (table: TableMetrics) => number) =>
    addGauge(registry, {
      name,
      help,
      label: 'table',
      aggregator: 'max',
      read: () => Object.fromEntries((sizes() ?? []).map((table) => [table.table, read(table)])),
    });
  gauge('roster_table_rows', "Postgres' estimate of the table's rows.", ({ rows }) => rows);
  gauge('roster_table_size_bytes', 'Size of the table with its indexes.', ({ bytes }) => bytes);
}

/** As for tables. */
function addListIndexMetrics(registry: Registry, status: () => readonly ListIndexMetrics[] | undefined): void {
  const byName = (read: (index: ListIndexMetrics) => number | undefined) => () =>
    Object.fromEntries(
      (status() ?? []).flatMap((index) => {
        const value = read(index);
        return value === undefined ? [] : [[index.name, value]];
      }),
    );
  const options = { label: 'index', aggregator: 'max' } as const;
  addGauge(registry, {
    ...options,
    name: 'roster_list_index_size_bytes',
    help: 'Size of the index for lists; 0 if lists cannot use it.',
    read: byName(({ state, bytes }) => (state === 'exists' ? bytes : 0)),
  });
  addCounter(registry, {
    ...options,
    name: 'roster_list_index_scans_total',
    help: 'How often Postgres has used the index for lists.',
    read: byName(({ scans }) => scans),
  });
  addGauge(registry, {
    ...options,
    name: 'roster_list_index_built_ratio',
    help: 'Built part of an index for lists that is being built.',
    read: byName(({ state, built }) => (state === 'building' ? built : undefined)),
  });
  new Gauge({
    name: 'roster_list_index_state',
    help: 'State of the index for lists: 1 for its state, and 0 for the others.',
    labelNames: ['index', 'state'],
    aggregator: 'max',
    registers: [registry],
    collect() {
      this.reset();
      for (const { name, state } of status() ?? []) {
        for (const each of indexStates) this.labels(name, each).set(Number(each === state));
      }
    },
  });
}

interface MetricOptions extends Pick<GaugeConfiguration<string>, 'name' | 'help' | 'aggregator'> {
  /** Without a label, `read` returns one number. */
  readonly label?: string;
  /** Returns undefined if the process does not have the value. */
  read(): number | Readonly<Record<string, number>> | undefined;
}

/** Adds a metric that is read only on each scrape. */
export function addGauge(registry: Registry, options: MetricOptions): void {
  const { label, read, ...configuration } = options;
  new Gauge<string>({
    ...configuration,
    labelNames: label === undefined ? [] : [label],
    registers: [registry],
    collect() {
      replaceValues(this, read());
    },
  });
}

/** Adds a counter whose value is kept elsewhere. */
export function addCounter(registry: Registry, options: MetricOptions): void {
  const { label, read, ...configuration } = options;
  new Counter<string>({
    ...configuration,
    labelNames: label === undefined ? [] : [label],
    registers: [registry],
    collect() {
      replaceValues(this, read());
    },
  });
}

function replaceValues(metric: Gauge<string> | Counter<string>, now: ReturnType<MetricOptions['read']>): void {
  metric.reset();
  // After a reset, a metric without labels has the value 0.
  if (now === undefined) metric.remove({});
  else if (typeof now === 'number') metric.inc(now);
  else for (const [value, number] of Object.entries(now)) metric.labels(value).inc(number);
}
