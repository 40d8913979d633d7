/**
 * Tracks every connection of the pool, including those that are still opening, and closes connections that are too old.
 *
 * A connection can become useless without an error: a firewall drops it, or the address moves to another server. The
 * pool would lend it until a statement reaches its timeout, and reads from an old primary would never fail.
 */
import pg from 'pg';
import { cutConnection } from './connection.js';
import { receiveRowMessages } from './row-messages.js';

/** When a renewal closes lent connections: `cut` closes them at once, `finish` when they are returned. */
export type RenewMode = 'cut' | 'finish';

interface State {
  readonly expiresMs: number;
  isLent: boolean;
  isOutdated: boolean;
  wasCut: boolean;
}

export interface PoolConnections {
  /** The value for the pool's option `Client`. */
  readonly Client: new (
    config?: pg.ClientConfig,
  ) => pg.Client;
  /** Must be called before the pool lends its first connection. */
  observe(pool: pg.Pool): void;
  /** Closes every connection that has been opened so far. Idle connections are closed at once. */
  renew(mode: RenewMode): void;
  /** How often renew() was called. */
  readonly renewals: number;
  /** Whether the pool may keep the connection. */
  isCurrent(client: pg.ClientBase): boolean;
  /** Whether renew() has cut the connection. */
  wasCut(client: pg.ClientBase): boolean;
}

/** Each connection lives for 75 to 100 % of `ageMsMax`, so that those opened together are not all closed together. */
export function createPoolConnections(ageMsMax: number): PoolConnections {
  const open = new Set<pg.Client>();
  const states = new WeakMap<pg.ClientBase, State>();
  let renewals = 0;

  class PooledClient extends pg.Client {
    constructor(config?: pg.ClientConfig) {
      super(config);
      receiveRowMessages(this);
      const expiresMs = performance.now() + ageMsMax * (0.75 + 0.25 * Math.random());
      states.set(this, { expiresMs, isLent: false, isOutdated: false, wasCut: false });
      open.add(this);
      this.once('end', () => open.delete(this));
    }
  }

  function setLent(client: pg.ClientBase, isLent: boolean): void {
    const state = states.get(client);
    if (state !== undefined) state.isLent = isLent;
  }

  return {
    Client: PooledClient,

    observe(pool) {
      pool.on('acquire', (client) => setLent(client, true));
      pool.on('release', (_error, client) => setLent(client, false));
    },

    renew(mode) {
      renewals++;
      for (const client of open) {
        const state = states.get(client);
        if (state === undefined) continue;
        state.isOutdated = true;
        if (state.isLent && mode === 'finish') continue;
        state.wasCut = true;
        cutConnection(client);
      }
    },

    get renewals() {
      return renewals;
    },

    isCurrent(client) {
      const state = states.get(client);
      return state !== undefined && !state.isOutdated && performance.now() < state.expiresMs;
    },

    wasCut: (client) => states.get(client)?.wasCut === true,
  };
}
