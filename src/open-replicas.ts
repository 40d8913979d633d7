/**
 * Prepares the replicas of DATABASE_REPLICA_URLS, which the directory then follows and closes, and watches the hosts of
 * DATABASE_URL.
 */
import type { ServerConfig } from './config/parse.js';
import { type Database, openDatabase } from './database/database.js';
import { createServerProbe } from './database/server-probe.js';
import type { PreparedDatabase } from './find-database.js';
import { replicaConnections } from './operations/connection-budget.js';
import type { DirectoryReads } from './operations/directory-reads.js';
import { type HostWatch, watchHosts } from './operations/host-watch.js';
import type { ReplicaServer, UnusedReason } from './operations/replica.js';
import { createReplicas, type Replicas } from './operations/replicas.js';
import { describeTarget, parsePostgresUrl, urlsOfHosts } from './postgres-url.js';
import { readLogOrigin } from './store/identity.js';
import type { Log } from './telemetry/log.js';

// A server that takes longer is replaced by the primary. The connection and each check have this time.
const probeTimeoutMs = 1_000;

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
  const timeoutMs = Math.min(probeTimeoutMs, connectTimeoutMs);
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

/** Returns undefined if DATABASE_URL has only one host, or if the role may not read what identifies the servers. */
export async function startHostWatch(
  { database: { connectTimeoutMs } }: ServerConfig,
  { url }: PreparedDatabase,
  { database, log }: { readonly database: Database; readonly log: Log },
): Promise<HostWatch | undefined> {
  const urls = urlsOfHosts(url);
  if (urls.length < 2) return undefined;
  const origin = await readLogOrigin(database).catch((error: unknown) => {
    // The hosts are only compared to warn the operator.
    log.warn({ error }, 'cannot find out whether several hosts of DATABASE_URL accept writes');
    return undefined;
  });
  if (origin === undefined) return undefined;
  const timeoutMs = Math.min(probeTimeoutMs, connectTimeoutMs);
  const hosts = urls.map((hostUrl) => ({
    name: describeTarget(parsePostgresUrl(hostUrl)),
    probe: createServerProbe(hostUrl, timeoutMs),
  }));
  return watchHosts({ hosts, origin, log });
}
