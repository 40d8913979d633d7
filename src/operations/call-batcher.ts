/** Creates the batchers that combine single calls, with the configured limits and with metrics. */
import { type Batcher, type BatcherOptions, createBatcher } from '../concurrency/batcher.js';
import { isRetryable } from '../database/errors.js';
import type { Metrics } from '../telemetry/metrics.js';

/** The limits of each batcher, and the metrics that it reports to. */
export interface BatcherLimits {
  readonly batchRowsMax: number;
  readonly queueRowsMax: number;
  readonly metrics?: Metrics;
}

// A statement that runs longer than this waits for a lock or a slow disk. With a lower value, a busy server would send
// small statements.
export const slowStatementMs = 50;

/** `statement` names the batcher in the metrics. */
export function createCallBatcher<Item, Outcome>(
  statement: string,
  { batchRowsMax, queueRowsMax, metrics }: BatcherLimits,
  { run, ...options }: Pick<BatcherOptions<Item, Outcome>, 'run' | 'keyOf' | 'statementsMax'>,
): Batcher<Item, Outcome> {
  return createBatcher<Item, Outcome>({
    ...options,
    batchRowsMax,
    queueRowsMax,
    slowStatementMs,
    isRetryable,
    async run(items) {
      metrics?.batch(statement, items.length);
      const startMs = performance.now();
      try {
        return await run(items);
      } finally {
        metrics?.statement(statement, performance.now() - startMs);
      }
    },
  });
}
