/** Creates the batchers that combine single calls, with the configured limits, with metrics and with traces. */
import { type Batcher, type BatcherOptions, createBatcher } from '../concurrency/batcher.js';
import { isRetryable } from '../database/errors.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { CallSpan, Tracing, WaitSpan } from '../telemetry/tracing.js';

/** The limits of each batcher, and where it reports to. */
export interface BatcherLimits {
  readonly batchRowsMax: number;
  readonly queueRowsMax: number;
  readonly metrics?: Metrics;
  readonly tracing?: Tracing;
}

type CallBatcherOptions<Item, Outcome> = Pick<BatcherOptions<Item, Outcome>, 'run' | 'keyOf' | 'statementsMax'>;

// A statement that runs longer than this waits for a lock or a slow disk. With a lower value, a busy server would send
// small statements.
export const slowStatementMs = 50;

/** `statement` names the batcher in the metrics and traces. */
export function createCallBatcher<Item, Outcome>(
  statement: string,
  limits: BatcherLimits,
  options: CallBatcherOptions<Item, Outcome>,
): Batcher<Item, Outcome> {
  const { tracing } = limits;
  return tracing === undefined
    ? createCountedBatcher(statement, limits, options)
    : createTracedBatcher(statement, limits, options, tracing);
}

function createCountedBatcher<Item, Outcome>(
  statement: string,
  { batchRowsMax, queueRowsMax, metrics }: BatcherLimits,
  { run, ...options }: CallBatcherOptions<Item, Outcome>,
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

interface TracedItem<Item> {
  readonly item: Item;
  /** Undefined if the call is not sampled. */
  readonly call: CallSpan | undefined;
  readonly wait: WaitSpan | undefined;
}

function createTracedBatcher<Item, Outcome>(
  statement: string,
  limits: BatcherLimits,
  { run, keyOf, statementsMax }: CallBatcherOptions<Item, Outcome>,
  tracing: Tracing,
): Batcher<Item, Outcome> {
  const batcher = createCountedBatcher<TracedItem<Item>, Outcome>(statement, limits, {
    statementsMax,
    keyOf: keyOf && (({ item }) => keyOf(item)),
    run(traced) {
      for (const { wait } of traced) wait?.end();
      const calls = traced.flatMap(({ call }) => call ?? []);
      const items = traced.map(({ item }) => item);
      return tracing.traceStatement({ name: statement, rows: items.length, calls }, () => run(items));
    },
  });
  return {
    async submit(item, signal) {
      const call = tracing.active();
      const wait = call && tracing.startWait(statement, call);
      try {
        return await batcher.submit({ item, call, wait }, signal);
      } finally {
        wait?.end();
      }
    },
    close: () => batcher.close(),
    get queued() {
      return batcher.queued;
    },
    get inFlight() {
      return batcher.inFlight;
    },
  };
}
