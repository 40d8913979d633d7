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

/** The name in grpc.health.v1 that is healthy if the server serves calls of this kind. The empty name is the whole server. */
export type HealthName = '' | 'writes';

export interface ChannelHealth {
  /** Whether a call has failed on this channel, and its server has not said since then that it serves. */
  isDoubtful(channel: number): boolean;
  /** `name` is the one that must be healthy again. */
  noteFailure(channel: number, name: HealthName): void;
}

/** `serves` checks the health of a channel's server once, and must not reject. `closed` ends all checks. */
export function createChannelHealth(
  serves: (channel: number, name: HealthName) => Promise<boolean>,
  closed: AbortSignal,
): ChannelHealth {
  const doubtful = new Set<number>();

  async function checkUntilServing(channel: number, name: HealthName): Promise<void> {
    for (let waitMs = checkAfterMs; !closed.aborted; waitMs = Math.min(2 * waitMs, checkAfterMsMax)) {
      // The random part keeps the clients of one server from checking it together. A waiting check does not keep the process running.
      await sleep(waitMs * (1 + Math.random() / 4), undefined, { ref: false });
      if (!closed.aborted && (await serves(channel, name))) break;
    }
    doubtful.delete(channel);
  }

  return {
    isDoubtful: (channel) => doubtful.has(channel),
    noteFailure(channel, name) {
      if (doubtful.has(channel)) return;
      doubtful.add(channel);
      void checkUntilServing(channel, name);
    },
  };
}

/** Calls `note` for each call that fails as calls of an unreachable server do. */
export function notingFailures(note: (name: HealthName) => void): ClientMiddleware {
  return async function* noteFailure(call, options) {
    try {
      return yield* call.next(call.request, options);
    } catch (error) {
      // A call may also time out because it is slow. Then the first health check ends the doubt.
      if (error instanceof RosterError && (error.code === 'UNAVAILABLE' || error.code === 'DEADLINE_EXCEEDED')) {
        // A server that serves only reads must not get writes as soon as it says that it serves.
        note(call.method.options.idempotencyLevel === 'NO_SIDE_EFFECTS' ? '' : 'writes');
      }
      throw error;
    }
  };
}

/** Whether the server may serve although the check failed. Only a server that answers can refuse the check itself. */
export function mayServe(error: unknown): boolean {
  return error instanceof RosterError && !['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED'].includes(error.code);
}
