/**
 * What the process that was started and those that serve say to each other, over node:cluster's channel.
 *
 * The database's URL goes this way and no other: arguments and variables of a process can be read by others.
 */
import type { ServerConfig } from '../config.js';
import { describeError, type ErrorDescription } from '../telemetry/log.js';
import type { Figures } from '../telemetry/metrics.js';

export type ToWorker =
  /** Answers `ready`. `config` has the database's URL and the port. */
  | { readonly type: 'start'; readonly worker: number; readonly config: ServerConfig }
  | { readonly type: 'close'; readonly delayMs?: number }
  /** Answers `figures`. */
  | { readonly type: 'gather' }
  /** To those who have asked. */
  | { readonly type: 'totals'; readonly text: string }
  | ToSibling;

export type FromWorker =
  /** It hears what is said to it from now on. */
  | { readonly type: 'ready' }
  | { readonly type: 'serving' }
  /** Unasked, too, as the last that a worker says which was told to close. */
  | { readonly type: 'figures'; readonly figures: Figures }
  /** Asks for the figures of all workers as Prometheus reads them. */
  | { readonly type: 'count' }
  | { readonly type: 'failed'; readonly error: SentError }
  | FromSibling;

/** Whether anybody watches the directory in another worker; and that another one has written, to those where somebody does. */
export type ToSibling =
  | { readonly type: 'watched elsewhere'; readonly isWatched: boolean }
  | { readonly type: 'written' };

/** Whether anybody watches here; and that this one has written. */
export type FromSibling = { readonly type: 'watched'; readonly isWatched: boolean } | { readonly type: 'written' };

/** An error on its way to another process. */
export type SentError = ErrorDescription;

/** Without what an error of the database may hold of rows, as in the log. */
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
