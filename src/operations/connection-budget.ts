/**
 * Divides the pool's connections among their uses. Each use has its own part, and the parts add up to the pool. So slow
 * lists and locked users cannot take the connections of short calls.
 */
import { createLimiter } from '../concurrency/limiter.js';
import type { Database } from '../database/database.js';

/** Every use has at least one connection. The sum is the minimum of DATABASE_CONNECTIONS_MAX. */
const minimum = {
  /** Lookups of single users. They wait for no lock. */
  lookups: 1,
  /** The change feed, watchers that catch up, the start of exports, and ResolveUsers. They wait for no lock. */
  streams: 1,
  /** Batches of single writes. They wait at most 200 ms for a lock. */
  writes: 1,
  /** Writes that their batch skipped, one by one. They also wait at most 200 ms. */
  retries: 1,
  /** Writes that wait for a locked user or email. */
  lockWaits: 1,
  /** Lists and their totals. */
  lists: 1,
  /** BatchGetUsers and BatchCreateUsers. */
  batchCalls: 1,
  /** Housekeeping runs one statement at a time. */
  housekeeping: 1,
};

export type ConnectionUse = keyof typeof minimum;

/** The maximum number of connections for each use. */
export type ConnectionBudget = Readonly<Record<ConnectionUse, number>>;

// Each further connection of a larger pool goes to the next of these uses. After the last use, the list starts again.
const furtherUses: readonly ConnectionUse[] = [
  'lists',
  'writes',
  'lookups',
  'streams',
  'lists',
  'batchCalls',
  'lockWaits',
  'lists',
  'retries',
  'writes',
  'lookups',
  'lists',
];

/** Throws a RangeError if the pool is too small. */
export function divideConnections(connectionsMax: number): ConnectionBudget {
  const budget: Record<ConnectionUse, number> = { ...minimum };
  for (let remaining = connectionsMax - sumOf(minimum), index = 0; remaining > 0; remaining--, index++) {
    const use = furtherUses[index % furtherUses.length];
    if (use !== undefined) budget[use]++;
  }
  if (sumOf(budget) !== connectionsMax) {
    throw new RangeError(`The pool needs at least ${sumOf(minimum)} connections, not ${connectionsMax}.`);
  }
  return budget;
}

/** The maximum number of connections to a replica, which serves only reads. */
export function replicaConnections(connectionsMax: number): number {
  const { lookups, streams, lists, batchCalls } = divideConnections(connectionsMax);
  return lookups + streams + lists + batchCalls;
}

function sumOf(budget: ConnectionBudget): number {
  return Object.values(budget).reduce((sum, connections) => sum + connections);
}

/** Returns the database with statements that use at most `connections` at once. Further statements wait in order. */
export function limitConnections(database: Database, connections: number): Database {
  const limiter = createLimiter({ concurrencyMax: connections, queuedMax: Number.POSITIVE_INFINITY });
  return {
    ...database,
    run: (statement, values) => limiter.run('', () => database.run(statement, values)),
    runBinary: (statement, values) => limiter.run('', () => database.runBinary(statement, values)),
  };
}
