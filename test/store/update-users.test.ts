/** Users that are updated: outcomes by index, versions and times that only grow, and no deadlocks. */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import type { Database } from '../../src/database/database.js';
import type { RequiredVersion, UserFields } from '../../src/model/user.js';
import { deleteUsers } from '../../src/store/delete-users.js';
import { type UserUpdate, updateUsers } from '../../src/store/update-users.js';
import { selectUsers } from '../support/stored-users.js';
import { created, database, deadlocksIn, other, said, testDatabase, userIn, waitForLock } from './two-processes.js';

describe('updateUsers', () => {
  const update = async (id: string, fields: Partial<UserFields>, version?: number) => {
    const [outcome] = await updateUsers(database, [{ id, version, fields }]);
    return outcome;
  };

  it('writes the given fields, keeps the others, and returns the same user as a read', async () => {
    const before = await created({ attributes: { a: 1 } });
    const changes: Partial<UserFields>[] = [
      { firstName: 'Augusta' },
      { lastName: '' },
      { email: `new-${before.email}` },
      { profileImageUrl: 'https://x' },
      { attributes: { b: [null] } },
      { attributes: {}, profileImageUrl: '' },
    ];
    let expected = before;
    for (const [index, fields] of changes.entries()) {
      const after = userIn(await update(before.id, fields));
      expected = { ...expected, ...fields, version: index + 2, updateTime: after.updateTime };
      expect(after).toEqual(expected);
      expect(await selectUsers(other, [before.id])).toEqual([after]);
    }
  });

  it('without a change keeps the version and the time', async () => {
    const before = await created({ attributes: { a: 1, b: { c: [1, 2] } } });
    for (const fields of [
      {},
      { firstName: before.firstName },
      { ...before },
      { attributes: { b: { c: [1, 2] }, a: 1.0 } },
    ]) {
      const { firstName, attributes } = fields as Partial<UserFields>;
      expect(await update(before.id, { firstName, attributes })).toEqual(before);
    }
    expect(await update(before.id, { email: before.email })).toEqual(before);
  });

  it('never returns the same or an earlier time', async () => {
    const user = await created();
    let last = user.updateTime.getTime();
    for (let turn = 0; turn < 20; turn++) {
      const { updateTime } = userIn(await update(user.id, { lastName: `${turn}` }));
      expect(updateTime.getTime()).toBeGreaterThan(last);
      last = updateTime.getTime();
    }
    await testDatabase.query(`update users set update_time = now() + interval '1 hour' where id = $1`, [user.id]);
    const [ahead] = await selectUsers(database, [user.id]);
    const { updateTime } = userIn(await update(user.id, { lastName: 'x' }));
    expect(updateTime.getTime()).toBe((ahead?.updateTime.getTime() ?? 0) + 1);
  });

  it('checks the version, even if nothing would change', async () => {
    const user = await created();
    expect(said(await update(user.id, { lastName: 'x' }, 2))).toBe('ETAG_MISMATCH');
    expect(said(await update(user.id, { lastName: user.lastName }, 2))).toBe('ETAG_MISMATCH');
    expect(said(await update(user.id, {}, 0))).toBe('ETAG_MISMATCH');
    expect(said(await update(user.id, { lastName: 'x' }, 1))).toBe('made');
    expect(said(await update(user.id, { lastName: 'y' }, 1))).toBe('ETAG_MISMATCH');
  });

  it('writes only the version of the required time, if one is required', async () => {
    const { id, updateTime } = await created();
    const write = async (required: RequiredVersion) => {
      const [outcome] = await updateUsers(database, [{ id, fields: { lastName: 'x' }, ...required }]);
      return said(outcome);
    };
    const lost = new Date(updateTime.getTime() - 1);
    expect(await write({ version: 1, updateTime: lost })).toBe('ETAG_MISMATCH');
    expect(await write({ version: 2, updateTime })).toBe('ETAG_MISMATCH');
    expect(await write({ version: 1, updateTime })).toBe('made');
  });

  it('returns an outcome for each row by its index', async () => {
    const [ada, bob, eve] = [await created(), await created(), await created()];
    const outcomes = await updateUsers(database, [
      { id: bob.id, version: undefined, fields: { lastName: 'x' } },
      { id: uuidv7(), version: undefined, fields: { lastName: 'x' } },
      { id: ada.id, version: 7, fields: { lastName: 'x' } },
      { id: eve.id, version: 1, fields: { email: bob.email.toUpperCase() } },
    ]);
    expect(outcomes.map(said)).toEqual(['made', 'USER_NOT_FOUND', 'ETAG_MISMATCH', 'EMAIL_TAKEN']);
    expect(userIn(outcomes[0]).id).toBe(bob.id);
    expect(await selectUsers(database, [ada.id, eve.id])).toEqual([ada, eve]);
    expect(await updateUsers(database, [])).toEqual([]);
  });

  it('may change the spelling of a user’s own email', async () => {
    const user = await created({ email: `e\u0301${randomBytes(8).toString('hex')}@x` });
    for (const email of [user.email.toUpperCase(), user.email.normalize('NFC'), user.email]) {
      expect(userIn(await update(user.id, { email })).email).toBe(email);
    }
    expect((await selectUsers(database, [user.id]))[0]?.version).toBe(4);
  });

  it('rejects another user’s email, even in a swap', async () => {
    const [ada, bob] = [await created(), await created()];
    const outcomes = await updateUsers(database, [
      { id: ada.id, version: undefined, fields: { email: bob.email } },
      { id: bob.id, version: undefined, fields: { email: ada.email } },
    ]);
    expect(outcomes.map(said)).toEqual(['EMAIL_TAKEN', 'EMAIL_TAKEN']);
    expect(await selectUsers(database, [ada.id, bob.id])).toEqual([ada, bob]);
  });

  it('fails as a whole and writes nothing if two updates want the same new email', async () => {
    const [ada, bob, eve] = [await created(), await created(), await created()];
    const rows: UserUpdate[] = [
      { id: ada.id, version: undefined, fields: { email: 'wanted@x' } },
      { id: eve.id, version: undefined, fields: { lastName: 'x' } },
      { id: bob.id, version: undefined, fields: { email: 'WANTED@x' } },
    ];
    await expect(updateUsers(database, rows)).rejects.toMatchObject({
      reason: 'EMAIL_TAKEN',
      cause: { code: '23505' },
    });
    expect(await selectUsers(database, [ada.id, bob.id, eve.id])).toEqual([ada, bob, eve]);
  });

  it('alone is EMAIL_TAKEN if another process takes its new email while it waits', async () => {
    const [user, email] = [await created(), `${randomBytes(8).toString('hex')}@x`];
    const holder = new pg.Client(testDatabase.url);
    await holder.connect();
    try {
      await holder.query('begin');
      await holder.query('insert into users (id, first_name, email) values ($1, $2, $3)', [uuidv7(), 'x', email]);
      const waiting = update(user.id, { email });
      await waitForLock();
      await holder.query('commit');
      expect(await waiting).toBe('EMAIL_TAKEN');
    } finally {
      await holder.end();
    }
  });

  it('sees a change that another process committed while it waited for the row', async () => {
    const [user, rival] = [await created(), await created()];
    const holder = new pg.Client(testDatabase.url);
    await holder.connect();
    try {
      for (const [change, outcome] of [
        [`update users set version = version + 1, last_name = 'theirs' where id = $1`, 'ETAG_MISMATCH'],
        ['delete from users where id = $1', 'USER_NOT_FOUND'],
      ] as const) {
        await holder.query('begin');
        await holder.query(change, [user.id]);
        const version = (await selectUsers(database, [user.id]))[0]?.version;
        const waiting = updateUsers(other, [
          { id: user.id, version, fields: { lastName: 'mine' } },
          { id: rival.id, version: undefined, fields: { lastName: outcome } },
        ]);
        await waitForLock();
        await holder.query('commit');
        expect((await waiting).map(said)).toEqual([outcome, 'made']);
      }
    } finally {
      await holder.end();
    }
  });

  it('keeps other fields as another process has just written them', async () => {
    const user = await created();
    const turns = 25;
    const write = async (process: Database, field: 'firstName' | 'lastName') => {
      for (let turn = 1; turn <= turns; turn++) {
        expect(
          said((await updateUsers(process, [{ id: user.id, version: undefined, fields: { [field]: `${turn}` } }]))[0]),
        ).toBe('made');
      }
    };
    await Promise.all([write(database, 'firstName'), write(other, 'lastName')]);
    const [after] = await selectUsers(database, [user.id]);
    expect(after).toMatchObject({ firstName: `${turns}`, lastName: `${turns}`, version: 1 + 2 * turns });
  });
});

describe('two processes that update and delete the same users in random orders', () => {
  it('cause no deadlock, and every version counts one successful update', async () => {
    const users = await Promise.all(Array.from({ length: 30 }, () => created()));
    const successes = new Map(users.map((user) => [user.id, 0]));
    const deleted = new Set<string>();
    const shuffled = () =>
      users
        .map((user) => ({ user, key: Math.random() }))
        .sort((a, b) => a.key - b.key)
        .slice(0, 12)
        .map(({ user }) => user.id);
    let turns = 0;
    const work = async (process: Database) => {
      while (turns++ < 300) {
        if (turns % 20 === 0) {
          const ids = shuffled().slice(0, 2);
          const outcomes = await deleteUsers(
            process,
            ids.map((id) => ({ id, version: undefined })),
          );
          for (const [index, id] of ids.entries()) {
            if (outcomes[index] === 'deleted') {
              expect(deleted.has(id)).toBe(false);
              deleted.add(id);
            }
          }
          continue;
        }
        const ids = shuffled();
        const changed = ids.map(
          (id): UserUpdate => ({ id, version: undefined, fields: { lastName: randomBytes(4).toString('hex') } }),
        );
        for (const [index, outcome] of (await updateUsers(process, changed)).entries()) {
          const id = ids[index] ?? '';
          if (said(outcome) === 'made') successes.set(id, (successes.get(id) ?? 0) + 1);
          else expect(said(outcome)).toBe('USER_NOT_FOUND');
        }
      }
    };
    const deadlocks = await deadlocksIn(async (one, another) => {
      await Promise.all([one, another, one, another, one, another].map(work));
    });
    expect(deadlocks).toBe(0);
    const after = await selectUsers(
      database,
      users.map((user) => user.id),
    );
    for (const [index, user] of users.entries()) {
      if (deleted.has(user.id)) expect(after[index]).toBeUndefined();
      else expect(after[index]?.version).toBe(1 + (successes.get(user.id) ?? 0));
    }
    expect(deleted.size).toBeGreaterThan(0);
  });
});
