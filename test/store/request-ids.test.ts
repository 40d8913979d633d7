/** Request ids that count once, in whichever processes they are used. */
import pg from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import { insertAllUsers } from '../../src/store/insert-all-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { deleteExpiredRequests, type RequestKey } from '../../src/store/request-ids.js';
import { someFields } from '../support/open-database.js';
import {
  count,
  created,
  database,
  deadlocksIn,
  newUser,
  other,
  requestKey,
  said,
  testDatabase,
  userIn,
} from './two-processes.js';

describe('a request id', () => {
  it('returns the user of the first call for a repeated call', async () => {
    const request = requestKey();
    const first = newUser({}, request);
    expect((await insertUsers(database, [first])).map(said)).toEqual(['made']);
    const again = { ...first, id: uuidv7() };
    expect((await insertUsers(other, [newUser(), again])).map(said)).toEqual(['made', `repeated ${first.id}`]);
    expect(await count(first.fields.email)).toBe(1);
  });

  it('with a different user is REQUEST_ID_REUSED', async () => {
    const request = requestKey('a');
    await insertUsers(database, [newUser({}, request)]);
    const another = newUser({}, { ...request, digest: Buffer.from('b') });
    expect(await insertUsers(other, [another])).toEqual(['REQUEST_ID_REUSED']);
    expect(await count(another.fields.email)).toBe(0);
  });

  it('is not used up by a call that failed', async () => {
    const taken = await created();
    const request = requestKey('a');
    expect((await insertUsers(database, [newUser({ email: taken.email }, request)])).map(said)).toEqual([
      'EMAIL_TAKEN',
    ]);
    const batch = [newUser(), newUser({ email: taken.email })];
    expect(said(await insertAllUsers(database, batch, request))).toBe('EMAIL_TAKEN 1');
    const another = { ...request, digest: Buffer.from('b') };
    expect((await insertUsers(database, [newUser({}, another)])).map(said)).toEqual(['made']);
  });

  it('is valid for 24 hours and not longer', async () => {
    const age = (request: RequestKey, interval: string) =>
      testDatabase.query('update request_ids set create_time = now() - $2::interval where request_id = $1', [
        request.id,
        interval,
      ]);
    const request = requestKey('a');
    const first = newUser({}, request);
    await insertUsers(database, [first]);
    await age(request, '23 hours 59 minutes');
    expect((await insertUsers(database, [{ ...first, id: uuidv7() }])).map(said)).toEqual([`repeated ${first.id}`]);

    await age(request, '24 hours 1 second');
    expect((await insertUsers(database, [{ ...first, id: uuidv7() }])).map(said)).toEqual(['EMAIL_TAKEN']);
    const second = newUser({}, { ...request, digest: Buffer.from('b') });
    expect((await insertUsers(database, [second])).map(said)).toEqual(['made']);
    expect((await insertUsers(database, [{ ...second, id: uuidv7() }])).map(said)).toEqual([`repeated ${second.id}`]);

    await age(request, '24 hours 1 second');
    const batch = [newUser(), newUser()];
    expect(said(await insertAllUsers(database, batch, request))).toBe('made');
    expect(said(await insertAllUsers(database, batch, request))).toBe(
      `repeated ${batch.map((user) => user.id).join()}`,
    );
  });

  it('creates one user for the same call from two processes at once, thirty times', async () => {
    for (let round = 0; round < 30; round++) {
      const request = requestKey();
      const call = newUser({}, request);
      const calls = [database, other, database, other].map((process) =>
        insertUsers(process, [newUser(), { ...call, id: uuidv7() }]),
      );
      const outcomes = (await Promise.all(calls)).map(([, outcome]) => outcome);
      const made = outcomes.filter((outcome) => said(outcome) === 'made').map(userIn);
      expect(made).toHaveLength(1);
      expect(outcomes.map(said).filter((word) => word !== 'made')).toEqual(Array(3).fill(`repeated ${made[0]?.id}`));
      expect(await count(call.fields.email)).toBe(1);
    }
  });

  it('that two processes use for two users at once creates one of them, thirty times', async () => {
    for (let round = 0; round < 30; round++) {
      const { id } = requestKey();
      const calls = [database, other, database, other].map((process, index) =>
        insertUsers(process, [newUser({}, { id, digest: Buffer.from(`${index}`) }), newUser()]),
      );
      const outcomes = await Promise.all(calls);
      expect(outcomes.map(([outcome]) => said(outcome)).sort()).toEqual([
        'REQUEST_ID_REUSED',
        'REQUEST_ID_REUSED',
        'REQUEST_ID_REUSED',
        'made',
      ]);
      expect(outcomes.map(([, outcome]) => said(outcome))).toEqual(Array(4).fill('made'));
    }
  });

  it('that two processes use for two batches at once creates one of them, thirty times', async () => {
    for (let round = 0; round < 30; round++) {
      const { id } = requestKey();
      const calls = [database, other, database, other].map((process, index) =>
        insertAllUsers(process, [newUser(), newUser()], { id, digest: Buffer.from(`${index}`) }),
      );
      const outcomes = await Promise.all(calls);
      expect(outcomes.map(said).sort()).toEqual([
        'REQUEST_ID_REUSED',
        'REQUEST_ID_REUSED',
        'REQUEST_ID_REUSED',
        'made',
      ]);
    }
  });

  it('creates one batch for the same call from two processes at once, thirty times', async () => {
    for (let round = 0; round < 30; round++) {
      const request = requestKey();
      const fields = [someFields(), someFields(), someFields()];
      const calls = [database, other, database, other].map((process) =>
        insertAllUsers(
          process,
          fields.map((user) => ({ id: uuidv7(), fields: user })),
          request,
        ),
      );
      const outcomes = (await Promise.all(calls)).map(said);
      expect(outcomes.filter((word) => word === 'made')).toHaveLength(1);
      expect(new Set(outcomes).size).toBe(2);
      for (const { email } of fields) expect(await count(email)).toBe(1);
    }
  });

  it('of many calls in opposite orders in two processes never deadlocks', async () => {
    const deadlocks = await deadlocksIn(async (one, another) => {
      for (let round = 0; round < 10; round++) {
        const requests = Array.from({ length: 100 }, () => requestKey());
        const rows = (list: RequestKey[]) => list.map((request) => newUser({}, request));
        const outcomes = await Promise.all([
          insertUsers(one, rows(requests)),
          insertUsers(another, rows(requests.toReversed())),
          insertUsers(another, rows(requests)),
        ]);
        expect(outcomes.flat().filter((outcome) => said(outcome) === 'made')).toHaveLength(100);
      }
    });
    expect(deadlocks).toBe(0);
  });

  it('is deleted after it expires, in limited numbers', async () => {
    await testDatabase.query('delete from request_ids');
    const fresh = newUser({}, requestKey());
    await insertUsers(database, [fresh, ...Array.from({ length: 5 }, () => newUser({}, requestKey()))]);
    await testDatabase.query(
      `update request_ids set create_time = now() - interval '24 hours 1 second' where request_id <> $1`,
      [fresh.request?.id],
    );
    expect(await deleteExpiredRequests(database, 3)).toBe(3);
    expect(await deleteExpiredRequests(database, 3)).toBe(2);
    expect(await deleteExpiredRequests(database, 3)).toBe(0);
    expect(await testDatabase.query('select request_id from request_ids')).toEqual([{ request_id: fresh.request?.id }]);
  });

  it('is deleted without waiting for a locked one', async () => {
    await testDatabase.query('delete from request_ids');
    const held = newUser({}, requestKey());
    await insertUsers(database, [held, newUser({}, requestKey())]);
    await testDatabase.query(`update request_ids set create_time = now() - interval '25 hours'`);
    const holder = new pg.Client(testDatabase.url);
    await holder.connect();
    try {
      await holder.query('begin');
      await holder.query('select from request_ids where request_id = $1 for update', [held.request?.id]);
      expect(await deleteExpiredRequests(database, 10)).toBe(1);
    } finally {
      await holder.end();
    }
  });
});
