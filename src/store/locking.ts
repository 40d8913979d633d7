/** How statements that write users handle rows and emails that other transactions have locked. */
import type { Statement } from '../database/database.js';
import { isLockTimeout } from '../database/errors.js';

/**
 * `wait` waits up to the connection's lock_timeout. `skip` skips locked users; if it must wait because another
 * transaction is taking an email, it fails soon and changes nothing.
 */
export type Locking = 'wait' | 'skip';

/** The outcome of a statement with `skip` for a row that another transaction has locked. */
export const locked = 'locked';

export const forUpdate: Readonly<Record<Locking, string>> = {
  wait: 'for update of users',
  skip: 'for update of users skip locked',
};

// Well above the time for which Roster's statements hold a lock. The setting is local to the statement's transaction.
// The statement joins the select, so that the setting applies before any lock is taken.
const lockSettings: Readonly<Record<Locking, string>> = {
  wait: 'select',
  skip: `select set_config('lock_timeout', '200ms', true)`,
};

/** Creates a statement for each kind of locking. `body` must join `lock_setting` before it takes a lock. */
export function statementsFor(name: string, body: (locking: Locking) => string): Readonly<Record<Locking, Statement>> {
  const statementFor = (locking: Locking): Statement => ({
    name: `${name}-${locking}`,
    text: `with lock_setting as materialized (${lockSettings[locking]}), ${body(locking)}`,
  });
  return { wait: statementFor('wait'), skip: statementFor('skip') };
}

/**
 * Returns what `write` returns. If a statement with `skip` reaches its lock timeout, returns `locked` for all rows,
 * because the blocked row is unknown.
 */
export async function outcomesOrLocked<Outcome>(
  locking: Locking,
  rows: readonly unknown[],
  write: () => Promise<Outcome[]>,
): Promise<(Outcome | typeof locked)[]> {
  try {
    return await write();
  } catch (error) {
    if (locking === 'skip' && isLockTimeout(error)) return rows.map(() => locked);
    throw error;
  }
}
