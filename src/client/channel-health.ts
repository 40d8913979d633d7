/**
 * Knows which servers refuse calls, if a client has several addresses.
 *
 * After a call has failed with UNAVAILABLE or DEADLINE_EXCEEDED, it checks the server's health until the server serves
 * again. It sends nothing while no call fails. docs/decisions/0047 explains why.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientMiddleware } from 'nice-grpc';
import { RosterError } from './roster-error.js';

// A server notices within about this time that it has lost its database. An earlier check could still say SERVING.
const checkAfterMs = 500;
const checkAfterMsMax = 2_000;

export interface ChannelHealth {
  /** Whether a call has failed on this channel, and its server has not said since then that it serves. */
  isDoubtful(channel: number): boolean;
  noteFailure(channel: number): void;
}

/** `serves` checks the health of a channel's server once, and must not reject. `closed` ends all checks. */
export function createChannelHealth(serves: (channel: number) => Promise<boolean>, closed: AbortSignal): ChannelHealth {
  const doubtful = new Set<number>();

  async function checkUntilServing(channel: number): Promise<void> {
    for (let waitMs = checkAfterMs; !closed.aborted; waitMs = Math.min(2 * waitMs, checkAfterMsMax)) {
      // The random part keeps the clients of one server from checking it together. A waiting check does not keep the process running.
      await sleep(waitMs * (1 + Math.random() / 4), undefined, { ref: false });
      if (!closed.aborted && (await serves(channel))) break;
    }
    doubtful.delete(channel);
  }

  return {
    isDoubtful: (channel) => doubtful.has(channel),
    noteFailure(channel) {
      if (doubtful.has(channel)) return;
      doubtful.add(channel);
      void checkUntilServing(channel);
    },
  };
}

/** Calls `note` for each call that fails as calls of an unreachable server do. */
export function notingFailures(note: () => void): ClientMiddleware {
  return async function* noteFailure(call, options) {
    try {
      return yield* call.next(call.request, options);
    } catch (error) {
      // A call may also time out because it is slow. Then the first health check ends the doubt.
      if (error instanceof RosterError && (error.code === 'UNAVAILABLE' || error.code === 'DEADLINE_EXCEEDED')) note();
      throw error;
    }
  };
}

/** Whether the server may serve although the check failed. Only a server that answers can refuse the check itself. */
export function mayServe(error: unknown): boolean {
  return error instanceof RosterError && !['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED'].includes(error.code);
}
