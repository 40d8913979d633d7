/** Batches of users that are added as a whole or not at all. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Database } from '../../src/database/database.js';
import type { User } from '../../src/model/user.js';
import { insertAllUsers } from '../../src/store/insert-all-users.js';
import { selectUsers } from '../support/stored-users.js';
import { created, database, deadlocksIn, newUser, requestKey, said } from './two-processes.js';

describe('insertAllUsers', () => {
  it('adds all, and returns them in their order', async () => {
    const rows = Array.from({ length: 1000 }, () => newUser({ attributes: { a: 1 } }));
    const outcome = await insertAllUsers(database, rows, undefined);
    const users = outcome as User[];
    expect(users.map((user) => user.id)).toEqual(rows.map((row) => row.id));
    expect(
      await selectUsers(
        database,
        users.map((user) => user.id),
      ),
    ).toEqual(users);
  });

  it('adds no user if an email is taken, and names each taken one', async () => {
    const taken = await created();
    const rows = [
      newUser({ email: 'batch@x' }),
      newUser({ email: taken.email.toUpperCase() }),
      newUser(),
      newUser({ email: 'BATCH@x' }),
      newUser({ email: 'batch@X' }),
    ];
    expect(await insertAllUsers(database, rows, requestKey())).toEqual({ takenIndexes: [1, 3, 4] });
    expect(
      await selectUsers(
        database,
        rows.map((row) => row.id),
      ),
    ).toEqual(rows.map(() => undefined));
  });

  it('of the same emails in opposite orders in two processes creates one batch, and never deadlocks', async () => {
    const deadlocks = await deadlocksIn(async (one, another) => {
      for (let round = 0; round < 20; round++) {
        const emails = Array.from({ length: 50 }, () => `${randomBytes(8).toString('hex')}@x`);
        const batch = (process: Database, list: string[]) => {
          const rows = list.map((email) => newUser({ email }));
          return insertAllUsers(process, rows, requestKey());
        };
        const outcomes = await Promise.all([
          batch(one, emails),
          batch(another, emails.toReversed()),
          batch(another, emails.toSorted()),
        ]);
        const all = emails.map((_, index) => index).join();
        expect(outcomes.map(said).sort()).toEqual([`EMAIL_TAKEN ${all}`, `EMAIL_TAKEN ${all}`, 'made']);
      }
    });
    expect(deadlocks).toBe(0);
  });
});
