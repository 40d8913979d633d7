/**
 * The messages between the parent process and its workers, over node:cluster's channel.
 *
 * Workers receive the database's URL only over this channel, because others can read a process's arguments and
 * environment.
 */
import type { ServerConfig } from '../config/parse.js';
import type { ErrorDescription } from '../telemetry/error-description.js';
import type { MetricsSnapshot } from '../telemetry/metrics.js';

export type ToWorker =
  /** The response to `ready`. `config` has the database's URL and the port. */
  | { readonly type: 'start'; readonly worker: number; readonly config: ServerConfig }
  | { readonly type: 'close'; readonly delayMs?: number }
  /** Requests `metrics`. */
  | { readonly type: 'request metrics' }
  /** The response to `request totals`. */
  | { readonly type: 'totals'; readonly text: string }
  | ToSibling;

export type FromWorker =
  /** The worker can receive messages. */
  | { readonly type: 'ready' }
  | { readonly type: 'serving' }
  /** The response to `request metrics`, and the last message of a worker that closes. */
  | { readonly type: 'metrics'; readonly snapshot: MetricsSnapshot }
  /** Requests the metrics of all workers in Prometheus' text format. */
  | { readonly type: 'request totals' }
  | { readonly type: 'failed'; readonly error: ErrorDescription }
  | FromSibling;

/** Whether another worker has watchers. A worker that has watchers also receives that another worker has written. */
export type ToSibling =
  | { readonly type: 'watched elsewhere'; readonly isWatched: boolean }
  | { readonly type: 'written' };

/** Whether this worker has watchers, and that this worker has written. */
export type FromSibling = { readonly type: 'watched'; readonly isWatched: boolean } | { readonly type: 'written' };

export function receivedError({ type, message, stack, code, reason, cause, errors }: ErrorDescription): Error {
  const options = { cause: cause && receivedError(cause) };
  const error =
    errors === undefined
      ? new Error(message, options)
      : new AggregateError(errors.map(receivedError), message, options);
  return Object.assign(error, { name: type, stack, code, reason });
}
