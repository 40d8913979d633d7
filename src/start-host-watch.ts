/** Starts to watch the hosts of DATABASE_URL, if it names several. */
import type { ServerConfig } from './config/parse.js';
import type { Database } from './database/database.js';
import { createServerProbe, probeTimeoutMs } from './database/server-probe.js';
import type { PreparedDatabase } from './find-database.js';
import { type HostWatch, watchHosts } from './operations/host-watch.js';
import { describeTarget, parsePostgresUrl, urlsOfHosts } from './postgres-url.js';
import { readLogOrigin } from './store/identity.js';
import type { Log } from './telemetry/log.js';

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
  const timeoutMs = probeTimeoutMs(connectTimeoutMs);
  const hosts = urls.map((hostUrl) => ({
    name: describeTarget(parsePostgresUrl(hostUrl)),
    probe: createServerProbe(hostUrl, timeoutMs),
  }));
  return watchHosts({ hosts, origin, log });
}
