/** Prepares the replicas of DATABASE_REPLICA_URLS, which the directory then follows and closes. */
import type { ServerConfig } from './config/parse.js';
import { type Database, openDatabase } from './database/database.js';
import { createServerProbe, probeTimeoutMs } from './database/server-probe.js';
import type { PreparedDatabase } from './find-database.js';
import { replicaConnections } from './operations/connection-budget.js';
import type { DirectoryReads } from './operations/directory-reads.js';
import type { ReplicaServer, UnusedReason } from './operations/replica.js';
import { createReplicas, type Replicas } from './operations/replicas.js';
import { describeTarget, parsePostgresUrl } from './postgres-url.js';
import { readLogOrigin } from './store/identity.js';
import type { Log } from './telemetry/log.js';

const helpOf: Readonly<Record<UnusedReason, string>> = {
  unreachable: 'Check that it is running, and that the role may log in. Roster tries again.',
  lagging: 'Its data are older than DATABASE_REPLICA_LAG_MS_MAX. Look at its load, its network and long queries on it.',
  'ahead of the primary': 'It has changes that the primary lacks, as after a failover. Rebuild it from the primary.',
  'not a replica':
    'It is not a streaming replica of the database at DATABASE_URL. Correct DATABASE_REPLICA_URLS, or rebuild it.',
  'several servers': 'Its address leads to several servers. Name each of them in DATABASE_REPLICA_URLS.',
};

/** Returns undefined if there are no replicas. Calls `onChange` after reads begin or cease to use one. */
export async function openReplicas(
  { database: options }: ServerConfig,
  { url }: PreparedDatabase,
  { database, log, onChange }: { readonly database: Database; readonly log: Log; onChange(): void },
): Promise<Replicas<DirectoryReads> | undefined> {
  const { replicaUrls, replicaLagMsMax, connectTimeoutMs } = options;
  if (replicaUrls.length === 0) return undefined;
  const timeoutMs = probeTimeoutMs(connectTimeoutMs);
  const servers = replicaUrls.map(
    (replicaUrl): ReplicaServer => ({
      name: describeTarget(parsePostgresUrl(replicaUrl)),
      probe: createServerProbe(replicaUrl, timeoutMs),
      open: (expectedRun) =>
        openDatabase({
          ...options,
          url: replicaUrl,
          directUrl: undefined,
          connectionsMax: replicaConnections(options.connectionsMax),
          acceptsStandby: true,
          expectedRun,
        }),
    }),
  );
  return createReplicas<DirectoryReads>({
    servers,
    primary: createServerProbe(url, timeoutMs, true),
    origin: await readLogOrigin(database),
    lagMsMax: replicaLagMsMax,
    onChange(replica, reason, error) {
      if (reason === undefined) log.info({ replica }, 'reads use the replica');
      else log[reason === 'not a replica' ? 'error' : 'warn']({ replica, reason, help: helpOf[reason], error }, unused);
      onChange();
    },
  });
}

const unused = 'reads do not use the replica';
