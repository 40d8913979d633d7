/**
 * The statements of a batcher in tests. They stay in flight until the test settles them, so that no test depends on
 * durations.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { BatcherOptions } from '../../src/concurrency/batcher.js';

export interface HeldStatement {
  readonly items: readonly string[];
  /** Without outcomes, each item's outcome is the item in capitals. */
  succeed(outcomes?: readonly (string | Error)[]): Promise<void>;
  fail(error: unknown): Promise<void>;
}

/** A failure caused by a row, so that the statement may run again in halves. */
export class GuiltyRowError extends Error {}

/** The options of a batcher, and the statements that it has sent so far, in order. */
export interface HeldStatements extends Omit<BatcherOptions<string, string>, 'rowsOf'> {
  readonly statements: readonly HeldStatement[];
  /** The items of each statement: `a` or, with a key, `key:a`. */
  readonly sent: readonly (readonly string[])[];
}

export function holdStatements(bounds: Partial<BatcherOptions<string, string>> = {}): HeldStatements {
  const statements: HeldStatement[] = [];
  return {
    batchRowsMax: 100,
    queueRowsMax: 1000,
    statementsMax: 1,
    slowStatementMs: 1000,
    keyOf: (item) => (item.includes(':') ? item.split(':')[0] : undefined),
    isRetryable: (error) => error instanceof GuiltyRowError,
    run: (items) =>
      new Promise((resolve, reject) => {
        statements.push({
          items,
          async succeed(outcomes = items.map((item) => item.toUpperCase())) {
            resolve(outcomes);
            await turn();
          },
          async fail(error) {
            reject(error);
            await turn();
          },
        });
      }),
    ...bounds,
    statements,
    get sent() {
      return statements.map((statement) => statement.items);
    },
  };
}
