/**
 * Writes one user in up to three steps: in a batch that skips locked rows, then alone, then waiting for the lock. Each
 * step has its own connections, so a write that waits for another transaction delays no other call.
 */
import type { Batcher } from '../concurrency/batcher.js';
import { createLimiter } from '../concurrency/limiter.js';
import { Fault } from '../model/fault.js';
import { type Locking, locked } from '../store/locking.js';
import { type BatcherLimits, createCallBatcher } from './call-batcher.js';
import type { ConnectionBudget } from './connection-budget.js';

export interface ContendedWrite<Item, Outcome> {
  write(item: Item, signal: AbortSignal): Promise<Outcome>;
  readonly batcher: Batcher<Item, Outcome | typeof locked>;
}

export interface WriteStatement<Item, Outcome> {
  /** For the metrics. */
  readonly name: string;
  /** A Fault fails only its own item. */
  run(items: readonly Item[], locking: Locking): Promise<(Outcome | typeof locked | Fault)[]>;
  /** Items with the same key never share a batch. */
  keyOf(item: Item): string | undefined;
  /** The user or the email whose lock the item may have to wait for. */
  lockOf(item: Item): string;
}

/** Returns a function that creates one kind of write. All kinds share the connections of each step. */
export function createContendedWrites(connections: ConnectionBudget, limits: BatcherLimits) {
  const { queueRowsMax } = limits;
  const batches = createLimiter({ concurrencyMax: connections.writes, queuedMax: Number.POSITIVE_INFINITY });
  const retries = createLimiter({ concurrencyMax: connections.retries, queuedMax: queueRowsMax });
  const lockKeys = createLimiter({ concurrencyMax: 1, queuedMax: queueRowsMax });
  const lockWaits = createLimiter({ concurrencyMax: connections.lockWaits, queuedMax: queueRowsMax });

  return <Item, Outcome>(statement: WriteStatement<Item, Outcome>): ContendedWrite<Item, Outcome> => {
    const batcher = createCallBatcher<Item, Outcome | typeof locked>(statement.name, limits, {
      run: (items) => batches.run('', () => statement.run(items, 'skip')),
      keyOf: statement.keyOf,
      // Even if all statements of this kind wait for an email, the other kinds have a connection.
      statementsMax: Math.max(1, connections.writes - 1),
    });

    async function runAlone(item: Item, locking: Locking): Promise<Outcome | typeof locked> {
      const [outcome] = await statement.run([item], locking);
      if (outcome instanceof Fault) throw outcome;
      return outcome as Outcome | typeof locked;
    }

    async function write(item: Item, signal: AbortSignal): Promise<Outcome> {
      const inBatch = await batcher.submit(item, signal);
      if (inBatch !== locked) return inBatch;

      // The lock may be free by now, or only another item of the batch was locked.
      const alone = await retries.run('', () => runAlone(item, 'skip'), signal);
      if (alone !== locked) return alone;

      // One write at a time for each lock, so that the calls for one locked user use only one connection.
      using _permit = await lockKeys.acquire(statement.lockOf(item), signal);
      return (await lockWaits.run('', () => runAlone(item, 'wait'), signal)) as Outcome;
    }

    return { write, batcher };
  };
}
