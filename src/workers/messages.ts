/**
 * The messages between the first process and its workers, over node:cluster's channel.
 *
 * The database's URL goes only over this channel because others can read a process's arguments and environment.
 */
import type { ServerConfig } from '../config/parse.js';
import { describeError, type ErrorDescription } from '../telemetry/error-description.js';
import type { MetricsSnapshot } from '../telemetry/metrics.js';

export type ToWorker =
  /** The answer to `ready`. `config` has the database's URL and the port. */
  | { readonly type: 'start'; readonly worker: number; readonly config: ServerConfig }
  | { readonly type: 'close'; readonly delayMs?: number }
  /** Requests `metrics`. */
  | { readonly type: 'request metrics' }
  /** The answer to `request totals`. */
  | { readonly type: 'totals'; readonly text: string }
  | ToSibling;

export type FromWorker =
  /** The worker receives messages from now on. */
  | { readonly type: 'ready' }
  | { readonly type: 'serving' }
  /** Also the last message of a worker that closes. */
  | { readonly type: 'metrics'; readonly snapshot: MetricsSnapshot }
  /** Requests the metrics of all workers in Prometheus' text format. */
  | { readonly type: 'request totals' }
  | { readonly type: 'failed'; readonly error: SentError }
  | FromSibling;

/** Whether another worker has watchers. Workers with watchers also learn that another worker has written. */
export type ToSibling =
  | { readonly type: 'watched elsewhere'; readonly isWatched: boolean }
  | { readonly type: 'written' };

/** Whether this worker has watchers, and that this worker has written. */
export type FromSibling = { readonly type: 'watched'; readonly isWatched: boolean } | { readonly type: 'written' };

/** An error in a form that can be sent to another process. */
export type SentError = ErrorDescription;

/** Leaves out values of rows that a database error may contain, as the log does. */
export function sendableError(error: unknown): SentError {
  return describeError(error);
}

export function receivedError({ type, message, stack, code, reason, cause, errors }: SentError): Error {
  const options = { cause: cause && receivedError(cause) };
  const error =
    errors === undefined
      ? new Error(message, options)
      : new AggregateError(errors.map(receivedError), message, options);
  return Object.assign(error, { name: type, stack, code, reason });
}
