/**
 * One replica: follows how far it has replayed the primary's log, and decides whether reads may use it.
 *
 * It opens its pool when it first reaches the server, so an unreachable replica does not delay the start.
 */
import { settlesWithin } from '../concurrency/abort.js';
import { OtherServerFault } from '../database/connection.js';
import type { Database } from '../database/database.js';
import type { ServerProbe, ServerState } from '../database/server-probe.js';
import type { LogOrigin } from '../model/consistency-token.js';
import { Fault } from '../model/fault.js';
import type { LogPositions } from './log-positions.js';

/** Why reads do not use a replica. */
export type UnusedReason = 'unreachable' | 'lagging' | 'ahead of the primary' | 'not a replica' | 'several servers';

export interface ReplicaServer {
  /** As in `db2:5432/roster`, without secrets. */
  readonly name: string;
  readonly probe: ServerProbe;
  /** Opens the pool. `expectedRun` is as in AcceptedServer. */
  open(expectedRun: () => string | undefined): Promise<Database>;
}

export interface ReplicaRules {
  readonly origin: LogOrigin;
  readonly primary: LogPositions;
  readonly lagMsMax: number;
  /** Called when reads begin or cease to use the replica, or if the reason changes. */
  onChange(replica: string, reason: UnusedReason | undefined, error?: unknown): void;
}

/** The reads of a server, which hold its connections. */
export interface ServerReads {
  close(): Promise<void>;
}

/** A read has reached another run of a server than the last check, which was of `run`. */
interface Doubt {
  readonly run: string | undefined;
  readonly error: OtherServerFault;
}

// After this, an address that led to several servers is tried again.
const severalServersMs = 60_000;
// A replica that has failed must answer this often before reads use it again, so that the log is not flooded.
const answersMin = 2;

export class Replica<Reads extends ServerReads> {
  /** Set while reads may use it. */
  reads: Reads | undefined;
  /** As logPosition() makes it. */
  logPosition = 0n;
  #position = 0n;
  /** The age of its data at the last check. Infinity if that is not known yet. */
  lagMs = Number.POSITIVE_INFINITY;
  /** Changes if the server has restarted or recovered from a crash, which may take its position back. */
  generation = 0;
  readonly #createdMs = performance.now();
  /** When the position was read. */
  #readMs = Number.NEGATIVE_INFINITY;
  #run: string | undefined;
  #opened: { readonly database: Database; readonly reads: Reads } | undefined;
  #opening: Promise<void> | undefined;
  #reason: UnusedReason | undefined | 'new' = 'new';
  #answers = answersMin - 1;
  #isAhead = false;
  #isStandby = true;
  #severalUntilMs = Number.NEGATIVE_INFINITY;
  #doubt: Doubt | undefined;
  #isClosed = false;

  constructor(
    private readonly server: ReplicaServer,
    private readonly rules: ReplicaRules,
    private readonly createReads: (database: Database) => Reads,
  ) {}

  get name(): string {
    return this.server.name;
  }

  /** How many bytes of the primary's log it has not replayed. */
  get lagBytes(): number {
    const { last } = this.rules.primary;
    return last === undefined || last <= this.#position ? 0 : Number(last - this.#position);
  }

  /** Reads its position, and decides whether reads may use it. Never rejects. */
  async check(): Promise<void> {
    const doubt = this.#doubt;
    try {
      const state = await this.server.probe.read();
      this.#note(state);
      if (doubt !== undefined) this.#settle(doubt, state);
      if (this.#opened === undefined && this.#isOfPrimary(state)) {
        // Two checks may overlap.
        this.#opening ??= this.#open().finally(() => {
          this.#opening = undefined;
        });
        await this.#opening;
      }
      this.#answers++;
      this.#decide(this.#isOfPrimary(state) ? undefined : 'not a replica');
    } catch (error) {
      this.noteFailure(error, true);
    }
  }

  /** Compares it with a primary that was read from `atMs` on. It must not have had more before. */
  compare({ position, run }: ServerState, atMs: number): void {
    if (this.#readMs >= atMs) return;
    // A server that accepts writes and is not the primary has a log of its own, such as an old primary.
    this.#isAhead = this.#position > position || (!this.#isStandby && this.#run !== run);
  }

  /** A check or a read has failed. Reads stop using the replica if its server is the reason. */
  noteFailure(error: unknown, isServerLost: boolean): void {
    if (error instanceof OtherServerFault) {
      this.#doubt ??= { run: this.#run, error };
      this.#stop();
    } else if (isServerLost) this.#lose('unreachable', error);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.reads = undefined;
    this.server.probe.close();
    const opened = this.#opened;
    this.#opened = undefined;
    if (opened === undefined) return;
    // Statements on a server that does not answer would delay the end.
    if (!(await settlesWithin(opened.reads.close(), closeTimeoutMs))) opened.database.renewConnections('cut');
    await opened.reads.close();
    await opened.database.close();
  }

  #note({ position, logPosition, run, isStandby }: ServerState): void {
    if (this.#run !== run) {
      this.generation++;
      // They lead to a server that has ended.
      this.#opened?.database.renewConnections('cut');
    }
    this.#run = run;
    this.#isStandby = isStandby;
    this.#position = position;
    this.logPosition = logPosition;
    this.#readMs = performance.now();
    this.lagMs = this.rules.primary.lagMsOf(position);
  }

  /** If the checked run still goes on, the read has reached another server. Otherwise the server has restarted. */
  #settle(doubt: Doubt, { run }: ServerState): void {
    this.#doubt = undefined;
    if (run !== doubt.run) return;
    this.#severalUntilMs = performance.now() + severalServersMs;
    this.#lose('several servers', doubt.error);
  }

  #isOfPrimary({ systemId, databaseOid }: ServerState): boolean {
    const { origin } = this.rules;
    return systemId === origin.systemId && databaseOid === origin.databaseOid;
  }

  async #open(): Promise<void> {
    const database = await this.server.open(() => this.#run);
    if (this.#isClosed) return database.close();
    this.#opened = { database, reads: this.createReads(database) };
  }

  #decide(given: UnusedReason | undefined): void {
    const { lagMsMax } = this.rules;
    // A replica that lags about as much as is allowed would otherwise come and go with each check.
    const allowedMs = this.#reason === 'lagging' ? lagMsMax / 2 : lagMsMax;
    let reason = given;
    if (performance.now() < this.#severalUntilMs) reason = 'several servers';
    else if (reason === undefined && this.#isAhead) reason = 'ahead of the primary';
    else if (reason === undefined && this.lagMs > allowedMs) reason = 'lagging';
    else if (reason === undefined && this.#answers < answersMin) return;
    this.#set(reason);
  }

  #lose(reason: UnusedReason, error: unknown): void {
    this.#stop();
    this.#set(reason, error);
  }

  /** Reads do not use it until it has answered again. */
  #stop(): void {
    this.#answers = 0;
    this.#opened?.database.renewConnections('cut');
    this.reads = undefined;
  }

  #set(reason: UnusedReason | undefined, error?: unknown): void {
    if (this.#isClosed) return;
    this.reads = reason === undefined ? this.#opened?.reads : undefined;
    if (reason === this.#reason) return;
    // At the start, a replica often lacks the latest commit, and nobody knows yet how old that is.
    const isNew = this.#reason === 'new' && performance.now() - this.#createdMs < this.rules.lagMsMax;
    if (isNew && reason === 'lagging' && this.lagMs === Number.POSITIVE_INFINITY) return;
    this.#reason = reason;
    this.rules.onChange(this.name, reason, error);
  }
}

const closeTimeoutMs = 1_000;

/** Whether a failed read may succeed on the primary. Mistakes of the client would fail there too. */
export function mayRepeatOnPrimary(error: unknown): boolean {
  // Anything that is not a Fault may also be the replica's, such as a table that it has not replayed yet.
  return !(error instanceof Fault) || error.reason === 'DATABASE_UNAVAILABLE';
}
