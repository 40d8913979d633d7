/**
 * Counts the hosts of DATABASE_URL that accept writes, and logs if there are several, such as an old primary and the new one after a failover.
 *
 * It does not choose one. A greater timeline does not show that the cluster's manager has elected a server
 * (docs/decisions/0049-roster-keeps-to-a-primary-that-accepts-writes.md).
 */
import type { ServerProbe, ServerState } from '../database/server-probe.js';
import { type LogOrigin, timelineOf } from '../model/consistency-token.js';
import type { Log } from '../telemetry/log.js';

export interface WatchedHost {
  /** As in `db2:5432/roster`, without secrets. */
  readonly name: string;
  readonly probe: ServerProbe;
}

export interface HostWatchOptions {
  readonly hosts: readonly WatchedHost[];
  readonly origin: LogOrigin;
  readonly log: Pick<Log, 'error'>;
  readonly everyMs?: number;
}

export interface HostWatch {
  /** The number of servers that accepted writes at the last check. */
  readonly primaries: number;
  close(): void;
}

// For the same servers. A host that does not answer in time must not make the log repeat itself.
const logEveryMs = 600_000;

const help =
  'Stop all except the server that your cluster elected, and rebuild the others from it. Roster keeps to the one that it uses until that one fails or refuses writes.';

export function watchHosts({ hosts, origin, log, everyMs = 10_000 }: HostWatchOptions): HostWatch {
  let count = 0;
  let logged = '';
  let loggedMs = Number.NEGATIVE_INFINITY;
  let isChecking = false;

  async function check(): Promise<void> {
    if (isChecking) return;
    isChecking = true;
    const states = await Promise.all(hosts.map(({ probe }) => probe.read().catch(() => undefined)));
    isChecking = false;
    // By run, because two names may lead to one server.
    const primaries = new Map<string, string>();
    for (const [index, state] of states.entries()) {
      const acceptsWrites = state !== undefined && !state.isStandby && !state.isReadOnly && isOf(origin, state);
      if (!acceptsWrites || primaries.has(state.run)) continue;
      primaries.set(state.run, `${hosts[index]?.name} (timeline ${timelineOf(state.logPosition)})`);
    }
    count = primaries.size;
    const found = [...primaries.values()].join(', ');
    const nowMs = performance.now();
    if (primaries.size < 2 || (found === logged && nowMs - loggedMs < logEveryMs)) return;
    log.error({ servers: found, help }, 'several hosts of DATABASE_URL accept writes');
    logged = found;
    loggedMs = nowMs;
  }

  const timer = setInterval(() => void check(), everyMs).unref();
  return {
    get primaries() {
      return count;
    },
    close() {
      clearInterval(timer);
      for (const { probe } of hosts) probe.close();
    },
  };
}

function isOf(origin: LogOrigin, { systemId, databaseOid }: ServerState): boolean {
  return systemId === origin.systemId && databaseOid === origin.databaseOid;
}
