/**
 * The replicas of the database: follows the primary and all replicas, and chooses one for each read.
 *
 * A read with a consistency token gets a replica that has replayed the log up to the token. If no replica has, it waits
 * for a moment, and then uses the primary (docs/decisions/0046-reads-may-go-to-replicas.md).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { settlesWithin, unlessAborted } from '../concurrency/abort.js';
import type { Database } from '../database/database.js';
import type { ServerProbe } from '../database/server-probe.js';
import {
  type ConsistencyTokens,
  createConsistencyTokens,
  type LogOrigin,
  latestToken,
  timelineOf,
} from '../model/consistency-token.js';
import { createLogPositions, type LogPositions } from './log-positions.js';
import { Replica, type ReplicaRules, type ReplicaServer, type ServerReads } from './replica.js';

/** Why a read that might use a replica uses the primary. */
export type PrimaryReason = 'latest' | 'no_replica' | 'behind' | 'unknown_token' | 'failed';

export interface ReplicaStatus {
  readonly replica: string;
  readonly isUsed: boolean;
  /** Undefined if it is not known. */
  readonly lagMs: number | undefined;
  readonly lagBytes: number;
}

export interface Replicas<Reads extends ServerReads> {
  readonly tokens: ConsistencyTokens;
  /** Begins to follow the servers. `createReads` makes the reads of one of them. */
  begin(createReads: (database: Database) => Reads): void;
  /** Resolves when the servers have been checked, or did not answer in time. */
  readonly ready: Promise<void>;
  /** `token` is what the client has sent; an empty text accepts any state. */
  choose(token: string, signal?: AbortSignal): Choice<Reads> | Promise<Choice<Reads>>;
  /** Waits up to `waitMs` for a replica that has replayed the log up to `position`. */
  reach(position: bigint, waitMs: number, signal?: AbortSignal): Promise<Choice<Reads>>;
  /** The reads of all replicas that are open. */
  all(): readonly Reads[];
  readonly status: () => readonly ReplicaStatus[];
  close(): Promise<void>;
}

export type Choice<Reads extends ServerReads> = Replica<Reads> | PrimaryReason;

export interface ReplicasOptions {
  readonly servers: readonly ReplicaServer[];
  readonly primary: ServerProbe;
  readonly origin: LogOrigin;
  readonly lagMsMax: number;
  readonly onChange: ReplicaRules['onChange'];
}

const checkEveryMs = 500;
// Between two checks of a replica for which reads wait.
const chaseEveryMs = 5;
// A read waits this long for a replica. A standby of the same site replays a commit within milliseconds, and a read of
// the primary over the same network takes less than this.
const waitMsMax = 100;
// A replica with more lag will not catch up in that time. The lag is measured once in `checkEveryMs`.
const nearLagMsMax = 2 * checkEveryMs;
// So that the metrics show longer lags than those that are allowed.
const keptMsMin = 10 * 60_000;
// The start does not wait longer for the first answers.
const startMsMax = 1_000;

export function createReplicas<Reads extends ServerReads>(options: ReplicasOptions): Replicas<Reads> {
  return new ReplicaSet(options);
}

interface Waiter<Reads extends ServerReads> {
  readonly position: bigint;
  resolve(replica: Replica<Reads>): void;
}

class ReplicaSet<Reads extends ServerReads> implements Replicas<Reads> {
  readonly tokens: ConsistencyTokens;
  ready: Promise<void> = Promise.resolve();
  readonly #options: ReplicasOptions;
  readonly #positions: LogPositions;
  readonly #waiters = new Set<Waiter<Reads>>();
  readonly #chased = new Set<Replica<Reads>>();
  readonly #closed = new AbortController();
  #replicas: readonly Replica<Reads>[] = [];
  #loops: Promise<unknown> = Promise.resolve();
  #next = 0;

  constructor(options: ReplicasOptions) {
    this.#options = options;
    this.#positions = createLogPositions(Math.max(keptMsMin, 2 * options.lagMsMax));
    this.tokens = createConsistencyTokens(options.origin);
  }

  begin(createReads: (database: Database) => Reads): void {
    const { servers, origin, lagMsMax, onChange } = this.#options;
    const rules = { origin, primary: this.#positions, lagMsMax, onChange };
    this.#replicas = servers.map((server) => new Replica(server, rules, createReads));
    this.ready = this.#checkAll();
    this.#loops = this.ready.then(() => this.#watch());
  }

  async #checkAll(): Promise<void> {
    const checks = this.#checkPrimary().then(() => Promise.all(this.#replicas.map((replica) => replica.check())));
    await settlesWithin(checks, startMsMax);
  }

  /** The checks of the servers are spread over the interval. */
  async #watch(): Promise<void> {
    const checks = [() => this.#checkPrimary(), ...this.#replicas.map((replica) => () => this.#check(replica))];
    const delayMs = (index: number) => (checkEveryMs * index) / checks.length;
    await Promise.all(checks.map((check, index) => this.#repeat(check, delayMs(index))));
  }

  choose(token: string, signal?: AbortSignal): Choice<Reads> | Promise<Choice<Reads>> {
    if (token === '') return this.#pick(0n) ?? 'no_replica';
    if (token === latestToken) return 'latest';
    const position = this.tokens.positionOf(token);
    if (position === undefined) return 'unknown_token';
    return this.#pick(position) ?? this.reach(position, waitMsMax, signal);
  }

  async reach(position: bigint, waitMs: number, signal?: AbortSignal): Promise<Choice<Reads>> {
    const found = this.#pick(position);
    if (found !== undefined) return found;
    const used = this.#replicas.filter(({ reads }) => reads !== undefined);
    if (used.length === 0) return 'no_replica';
    // After a failover, a standby may show the old timeline for minutes.
    const near = used.filter(
      ({ lagMs, logPosition }) =>
        lagMs <= Math.max(nearLagMsMax, waitMs) && timelineOf(logPosition) >= timelineOf(position),
    );
    if (near.length === 0) return 'behind';
    const { promise, resolve } = Promise.withResolvers<Choice<Reads>>();
    const waiter = { position, resolve };
    this.#waiters.add(waiter);
    const timer = setTimeout(resolve, waitMs, 'behind');
    for (const replica of near) this.#chase(replica);
    try {
      return await unlessAborted(promise, signal);
    } finally {
      clearTimeout(timer);
      this.#waiters.delete(waiter);
    }
  }

  all(): readonly Reads[] {
    return this.#replicas.flatMap(({ reads }) => reads ?? []);
  }

  readonly status = (): ReplicaStatus[] =>
    this.#replicas.map(({ name, reads, lagMs, lagBytes }) => ({
      replica: name,
      isUsed: reads !== undefined,
      lagMs: Number.isFinite(lagMs) ? lagMs : undefined,
      lagBytes,
    }));

  async close(): Promise<void> {
    this.#closed.abort();
    this.#options.primary.close();
    await Promise.all(this.#replicas.map((replica) => replica.close()));
    await this.#loops;
  }

  /** The next replica in rotation that reads use and that has replayed the log up to the position. */
  #pick(position: bigint): Replica<Reads> | undefined {
    const count = this.#replicas.length;
    const start = this.#next++;
    for (let step = 0; step < count; step++) {
      const replica = this.#replicas[(start + step) % count];
      if (replica?.reads !== undefined && replica.logPosition >= position) return replica;
    }
    return undefined;
  }

  async #check(replica: Replica<Reads>): Promise<void> {
    await replica.check();
    if (replica.reads === undefined) return;
    for (const waiter of this.#waiters) if (replica.logPosition >= waiter.position) waiter.resolve(replica);
  }

  async #checkPrimary(): Promise<void> {
    const startMs = performance.now();
    try {
      const state = await this.#options.primary.read();
      this.#positions.add(state.position, performance.now());
      for (const replica of this.#replicas) replica.compare(state, startMs);
    } catch {
      // The database watch reports it. Until then, the lag is that at the last known position.
    }
  }

  async #repeat(check: () => Promise<void>, delayMs: number): Promise<void> {
    const { signal } = this.#closed;
    for (let waitMs = delayMs; ; waitMs = checkEveryMs) {
      await sleep(waitMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      await check();
    }
  }

  /** Checks the replica in short intervals while reads wait. All of them share the checks. */
  #chase(replica: Replica<Reads>): void {
    if (this.#chased.has(replica)) return;
    this.#chased.add(replica);
    const chase = async () => {
      while (this.#waiters.size > 0 && replica.reads !== undefined && !this.#closed.signal.aborted) {
        await this.#check(replica);
        if (this.#waiters.size > 0) await sleep(chaseEveryMs);
      }
      this.#chased.delete(replica);
    };
    void chase();
  }
}
