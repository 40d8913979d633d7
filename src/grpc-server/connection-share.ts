/** Divides the open calls of each caller of a busy server, and the time for reading, among its connections. */
import type { UnaryCalls } from './caller-share.js';
import type { ConnectionUse } from './stream.js';

export interface LimitedConnection {
  readonly use: ConnectionUse;
  readonly isActive: boolean;
  /** Announces to the client how many calls it may have open. */
  limitCalls(callsMax: number): void;
  /** If false, the client is soon stopped by TCP. */
  setReading(reads: boolean): void;
}

/** `perCaller` is undefined if the server is not busy. `callsMax` limits each connection. */
export function shareCalls(
  connections: readonly LimitedConnection[],
  perCaller: number | undefined,
  callsMax: number,
): void {
  if (perCaller === undefined) {
    for (const connection of connections) {
      connection.limitCalls(callsMax);
      connection.setReading(true);
    }
    return;
  }
  for (const [caller, own] of Map.groupBy(connections, ({ use }) => use.caller)) {
    const active = own.filter(({ isActive }) => isActive).length;
    // A power of two, so that it rarely changes.
    const each = 2 ** Math.floor(Math.log2(perCaller / Math.max(1, active)));
    for (const connection of own)
      connection.limitCalls(Math.min(callsMax, Math.max(1, each) + connection.use.openStreams));
    if (caller !== undefined) readInTurns(own, caller);
  }
}

/** Stops reading what a caller sends until the next interval, even what has already arrived. */
export function stopReading(connections: readonly LimitedConnection[], caller: UnaryCalls): void {
  for (const connection of connections) if (connection.use.caller === caller) connection.setReading(false);
}

/**
 * Clients that start calls and cancel them take the server's time without ever reaching a limit of open calls, and Node
 * reads up to 64 KiB of such calls from each connection before it reads from the next one. So the number of connections
 * that are read is quartered while they waste too much, and doubled afterwards.
 */
function readInTurns(connections: readonly LimitedConnection[], caller: UnaryCalls): void {
  const count = connections.length;
  if (caller.wasteLeft <= 0) caller.readersMax = Math.max(1, Math.floor(Math.min(caller.readersMax, count) / 4));
  else caller.readersMax = caller.readersMax * 2 >= count ? Number.POSITIVE_INFINITY : caller.readersMax * 2;
  const { readersMax } = caller;
  for (const [index, connection] of connections.entries()) {
    connection.setReading(readersMax >= count || (index - caller.turn + count) % count < readersMax);
  }
  caller.turn = readersMax >= count ? 0 : (caller.turn + readersMax) % count;
}
