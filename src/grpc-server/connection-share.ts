/** Divides the open calls of each caller of a busy server among its connections. */
import type { UnaryCalls } from './caller-share.js';
import type { ConnectionUse } from './stream.js';

export interface LimitedConnection {
  readonly use: ConnectionUse;
  readonly isActive: boolean;
  /** Announces to the client how many calls it may have open. */
  limitCalls(callsMax: number): void;
}

export interface OpenCalls {
  /** The limit of a busy server for all calls together. */
  readonly total: number;
  readonly perCaller: number;
}

export function shareCalls(connections: readonly LimitedConnection[], open: OpenCalls, connectionMax: number): void {
  for (const [caller, own] of Map.groupBy(connections, ({ use }) => use.caller)) {
    const active = own.filter(({ isActive }) => isActive).length;
    // The callers that share a connection, such as that of a proxy, are not known to have other ones.
    const calls = caller === 'several' ? open.total : open.perCaller;
    // A power of two, so that it rarely changes.
    const each = Math.max(1, 2 ** Math.floor(Math.log2(calls / Math.max(1, active))));
    const hasTurn = typeof caller === 'object' ? takeTurns(own.length, caller) : () => true;
    for (const [index, { use }] of own.entries()) {
      own[index]?.limitCalls(Math.min(connectionMax, use.openStreams + (hasTurn(index) ? each : 0)));
    }
  }
}

/** The caller may start no calls until the next interval, except streams that replace its open ones. */
export function stopCalls(connections: readonly LimitedConnection[], caller: UnaryCalls): void {
  for (const connection of connections) {
    if (connection.use.caller === caller) connection.limitCalls(connection.use.openStreams);
  }
}

/**
 * Clients that start calls and cancel them take the server's time without ever reaching a limit of open calls. So the
 * number of connections on which their caller may start calls is quartered while it wastes too much, and doubled
 * afterwards. Returns whether the connection with an index is one of them in this interval.
 */
function takeTurns(count: number, caller: UnaryCalls): (index: number) => boolean {
  const { turn } = caller;
  const before = Math.min(count, caller.turnsMax);
  const turns = caller.wasteLeft <= 0 ? Math.max(1, Math.floor(before / 4)) : before * 2;
  if (turns >= count) {
    caller.turnsMax = Number.POSITIVE_INFINITY;
    return () => true;
  }
  caller.turnsMax = turns;
  caller.turn = (turn + turns) % count;
  return (index) => (index - turn + count) % count < turns;
}
