/**
 * Reads how far a server has got in the write-ahead log (WAL), on a connection of its own. A standby has replayed it up to
 * there, and a primary has written it.
 */
import pg from 'pg';
import { type LogOrigin, logPosition } from '../model/consistency-token.js';
import { keepAlive } from './connection.js';
import { serverRun } from './server-run.js';
import { createServers } from './servers.js';

export interface ServerState extends LogOrigin {
  /** As serverRun. */
  readonly run: string;
  readonly isStandby: boolean;
  /** Whether it accepts no writes, also as a primary: default_transaction_read_only is on. */
  readonly isReadOnly: boolean;
  /** The byte of the log. */
  readonly position: bigint;
  /** As logPosition() makes it. The timeline of a standby may be an older one than it has reached, but not a later one. */
  readonly logPosition: bigint;
}

export interface ServerProbe {
  /** Concurrent calls share one statement. Throws the driver's errors; the next call connects again. */
  read(): Promise<ServerState>;
  close(): void;
}

interface StateRow extends LogOrigin {
  readonly run: string;
  readonly isStandby: boolean;
  readonly isReadOnly: boolean;
  readonly position: string;
  readonly timeline: string;
}

// One statement, because a pooler may lead the next one to another server. Every name is qualified, because the role's
// search path may put another schema before pg_catalog.
//
// pg_last_wal_replay_lsn() keeps its last value after a promotion. The flush position is the last one that a standby can get.
// A standby writes its timeline into its control file from time to time.
const stateText = `
  select system_identifier::pg_catalog.text as "systemId",
    (select oid::pg_catalog.text from pg_catalog.pg_database where datname = pg_catalog.current_database())
      as "databaseOid",
    ${serverRun} as run, is_standby as "isStandby",
    pg_catalog.current_setting('transaction_read_only') = 'on' as "isReadOnly", pg_catalog.pg_wal_lsn_diff(
    case when is_standby then coalesce(pg_catalog.pg_last_wal_replay_lsn(), '0/0')
      else pg_catalog.pg_current_wal_flush_lsn() end, '0/0')::pg_catalog.text as position,
    case when is_standby then (
        select pg_catalog.to_hex(greatest(min_recovery_end_timeline, timeline_id))
        from pg_catalog.pg_control_recovery(), pg_catalog.pg_control_checkpoint()
      ) else pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_flush_lsn()), 1, 8) end as timeline
  from pg_catalog.pg_is_in_recovery() as is_standby, pg_catalog.pg_control_system()`;

/**
 * The time that a probe has to connect, and for each check. A server that takes longer is not used, so that callers do not
 * wait for it.
 */
export function probeTimeoutMs(connectTimeoutMs: number): number {
  return Math.min(1_000, connectTimeoutMs);
}

/** `timeoutMs` limits each statement, and the time to connect. With `mustBePrimary`, it leaves a server that is a standby. */
export function createServerProbe(url: string, timeoutMs: number, mustBePrimary = false): ServerProbe {
  const servers = createServers(url, timeoutMs);
  const clients = new Set<pg.Client>();
  let connection: pg.Client | undefined;
  let reading: Promise<ServerState> | undefined;
  let isClosed = false;

  function createClient(config: pg.ClientConfig): pg.Client {
    const client = new pg.Client({
      application_name: 'roster-watch',
      query_timeout: timeoutMs,
      ...keepAlive,
      ...config,
    });
    // The next statement on the connection fails.
    client.on('error', () => {});
    client.once('end', () => clients.delete(client));
    clients.add(client);
    return client;
  }

  async function readOnce(): Promise<ServerState> {
    if (isClosed) throw new Error('The connection was closed.');
    connection ??= await servers.connect(createClient);
    const client = connection;
    try {
      const { rows } = await client.query<StateRow>(stateText);
      const [row] = rows;
      if (row === undefined) throw new Error('The database returned no row.');
      // This ends the connection. A new one may lead to the new primary.
      if (mustBePrimary && row.isStandby) throw new Error('The server is a standby.');
      const { systemId, databaseOid, run, isStandby, isReadOnly, timeline } = row;
      const position = BigInt(row.position);
      return {
        systemId,
        databaseOid,
        run,
        isStandby,
        isReadOnly,
        position,
        logPosition: logPosition(timeline, position),
      };
    } catch (error) {
      connection = undefined;
      end(client);
      throw error;
    }
  }

  return {
    read() {
      reading ??= readOnce().finally(() => {
        reading = undefined;
      });
      return reading;
    },
    close() {
      isClosed = true;
      for (const client of clients) end(client);
    },
  };
}

function end(client: pg.Client): void {
  // Not awaited, because a server that does not respond would delay it.
  client.end().catch(() => {});
}
