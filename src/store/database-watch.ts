/**
 * Watches whether the database is there, on a connection of its own that no call can exhaust.
 *
 * It only tells; calls find out for themselves, and nothing waits for what is said here.
 */
import pg from 'pg';

export interface DatabaseWatchOptions {
  url: string;
  /** Called at every change, and once at the start. `error` says what is wrong; it is for the log. */
  onChange(isThere: boolean, error?: unknown): void;
  /** Tries to bring a database back that is ours to start. Called while it is away; may fail. */
  revive?(): Promise<void>;
}

export interface DatabaseWatch {
  close(): Promise<void>;
}

const lookEveryMs = 1_000;
// While it is away: soon enough that nobody waits for us once it is back.
const lookAgainMs = 250;
// An answer that takes longer is none. Well above a pause for a checkpoint on a slow disk.
const answerMsMax = 3_000;

export function watchDatabase({ url, onChange, revive }: DatabaseWatchOptions): DatabaseWatch {
  let client: pg.Client | undefined;
  let isThere: boolean | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  let wake = () => {};

  async function look(): Promise<void> {
    if (client === undefined) {
      const fresh = new pg.Client({
        connectionString: url,
        application_name: 'roster-watch',
        connectionTimeoutMillis: answerMsMax,
        query_timeout: answerMsMax,
        keepAlive: true,
      });
      // Hears at once of a server that goes away, instead of at the next look.
      fresh.on('error', () => wake());
      client = fresh;
      await fresh.connect();
    }
    const { rows } = await client.query(`select current_setting('transaction_read_only')::boolean as is_read_only`);
    // A standby is, and so is a database that somebody has set so.
    if (rows[0].is_read_only) throw new Error('the database takes no writes');
  }

  function drop(): void {
    // Not awaited: it waits for a server that does not answer.
    client?.end().catch(() => {});
    client = undefined;
  }

  function tell(now: boolean, error?: unknown): void {
    if (now === isThere || isClosed) return;
    isThere = now;
    onChange(now, error);
  }

  async function run(): Promise<void> {
    while (!isClosed) {
      try {
        await look();
        tell(true);
      } catch (error) {
        drop();
        tell(false, error);
        if (!isClosed) await revive?.().catch(() => {});
      }
      if (isClosed) break;
      await new Promise<void>((resolve) => {
        wake = resolve;
        timer = setTimeout(resolve, isThere ? lookEveryMs : lookAgainMs);
      });
      clearTimeout(timer);
    }
    drop();
  }

  const running = run();
  return {
    close() {
      isClosed = true;
      // A look that is under way ends with its connection.
      drop();
      wake();
      return running;
    },
  };
}
