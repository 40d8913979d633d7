/**
 * Watches the database, and knows what this process serves: everything, nothing, or only reads while it cannot reach the
 * primary but reads use a replica (docs/decisions/0048-reads-keep-a-server-healthy.md).
 */
import type { Database } from './database/database.js';
import { type DatabaseWatch, ReadOnlyError, watchDatabase } from './database/health.js';
import type { PreparedDatabase } from './find-database.js';
import { readNeedsPrimary } from './model/fault.js';
import type { DirectoryReads } from './operations/directory-reads.js';
import { createOutageLog } from './operations/outage-log.js';
import type { Replicas } from './operations/replicas.js';
import type { TimelineLog } from './operations/timeline-log.js';
import type { Serving } from './rpc/health-service.js';
import type { Log } from './telemetry/log.js';
import type { Metrics } from './telemetry/metrics.js';

export interface ServingState {
  /** Call this after reads begin or cease to use a replica. */
  update(): void;
  /** Throws if a read on the primary would only wait, because the process serves only reads from replicas. */
  requirePrimary(): void;
  /** Begins to watch the database. Until then, the process serves everything. */
  watch(prepared: PreparedDatabase, parts: WatchedParts): DatabaseWatch;
}

export interface WatchedParts {
  readonly database: Database;
  readonly timelines: TimelineLog;
  readonly replicas: Replicas<DirectoryReads> | undefined;
  readonly metrics: Metrics;
  /** Called after each change. */
  onChange(serving: Serving): void;
}

const help =
  'Writes fail until this server reaches the primary. GET /readyz/writes returns 503, and the health of the service "writes" is NOT_SERVING.';

export function createServingState(log: Log): ServingState {
  let isConnected = true;
  // A primary that accepts no writes may still answer reads, and then it does so at once.
  let isReadOnly = false;
  let serving: Serving = 'all';
  let parts: WatchedParts | undefined;

  function update(): void {
    const canRead = parts?.replicas !== undefined && parts.replicas.all().length > 0;
    const next = isConnected ? 'all' : canRead ? 'reads' : 'nothing';
    if (next === serving) return;
    serving = next;
    if (next === 'reads') log.warn({ help }, 'serving only reads');
    parts?.onChange(next);
  }

  return {
    update,
    requirePrimary() {
      if (serving === 'reads' && !isReadOnly) throw readNeedsPrimary();
    },
    watch({ url, embedded }, watched) {
      parts = watched;
      const { database, timelines, replicas, metrics } = watched;
      const connection = { isUp: false };
      metrics.observe({ database: connection, servesOnlyReads: replicas && (() => serving === 'reads') });
      const logOutage = createOutageLog(log, url);
      return watchDatabase({
        url,
        onChange(isUp, error) {
          connection.isUp = isUp;
          isConnected = isUp;
          isReadOnly = error instanceof ReadOnlyError;
          if (isUp) {
            log.info({}, 'connected to the database');
            void timelines.check();
          } else logOutage(error, true);
          update();
        },
        onStillUnusable(error) {
          isReadOnly = error instanceof ReadOnlyError;
          logOutage(error, false);
        },
        onOutdated: (mode) => database.renewConnections(mode),
        restart: embedded && (() => embedded.ensureRunning()),
      });
    },
  };
}
