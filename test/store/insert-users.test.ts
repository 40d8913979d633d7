/** Users that are added: outcomes by index, unique emails, and no deadlocks. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import { parseJson } from '../../src/json.js';
import type { UserFields } from '../../src/model/user.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { selectUsers, selectUsersByEmail } from '../support/stored-users.js';
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

describe('insertUsers', () => {
  it('returns an outcome for each row by its index, regardless of other rows', async () => {
    const taken = await created();
    const rows = [newUser(), newUser({ email: taken.email }), newUser(), newUser({ email: taken.email.toUpperCase() })];
    const outcomes = await insertUsers(database, rows);
    expect(outcomes.map(said)).toEqual(['made', 'EMAIL_TAKEN', 'made', 'EMAIL_TAKEN']);
    expect(userIn(outcomes[0])).toMatchObject({ id: rows[0]?.id, ...rows[0]?.fields, version: 1 });
    expect(userIn(outcomes[2])).toMatchObject({ id: rows[2]?.id, ...rows[2]?.fields, version: 1 });
  });

  it('gives a repeated email to the first row, in any case or form', async () => {
    const name = randomBytes(4).toString('hex');
    const rows = ['É', 'E\u0301', 'é', 'e\u0301'].map((letter) => newUser({ email: `${name}${letter}@x` }));
    for (const request of [undefined, requestKey()]) {
      const batch = rows.map((row) => ({
        ...row,
        id: uuidv7(),
        fields: { ...row.fields, email: `${request?.id}${row.fields.email}` },
      }));
      const outcomes = await insertUsers(database, [...batch, newUser({}, request)]);
      expect(outcomes.map(said)).toEqual(['made', 'EMAIL_TAKEN', 'EMAIL_TAKEN', 'EMAIL_TAKEN', 'made']);
    }
  });

  it('without rows does nothing', async () => {
    expect(await insertUsers(database, [])).toEqual([]);
  });

  it('returns the same user as a later read', async () => {
    const attributes = { z: 1, a: [null, 1.5, -0.1, 1e300, 5e-324, { ü: 'x\n\t\u0001"\\' }], '': '', n: null };
    const user = await created({
      firstName: ' e\u0301 ',
      lastName: '"{\\,}"',
      profileImageUrl: 'https://x/?a={b}',
      attributes,
    });
    expect(await selectUsers(other, [user.id])).toEqual([user]);
    expect(user.updateTime).toEqual(user.createTime);
    expect(Math.abs(user.createTime.getTime() - Date.now())).toBeLessThan(60_000);
  });

  it('keeps every text and every attribute that the model allows', async () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
    const attributes = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 }));
    const users = fc.array(fc.record({ firstName: text, lastName: text, attributes }), { minLength: 1, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(users, async (list) => {
        // Through JSON first, which has no -0.
        const rows = list.map((fields) => newUser(parseJson(JSON.stringify(fields)) as Partial<UserFields>));
        const made = (await insertUsers(database, rows)).map(userIn);
        const ids = made.map((user) => user.id);
        expect(await selectUsers(database, ids)).toEqual(made);
        for (const [index, user] of made.entries()) expect(user).toMatchObject({ ...rows[index]?.fields });
      }),
      { numRuns: 20 },
    );
  });

  it('keeps attributes with similar names apart', async () => {
    // JSON.parse of today's V8 confuses these. The empty key, because jsonb sorts it first.
    const lists: UserFields['attributes'][] = [
      { '': 0, '\\': 0 },
      { '': 0, '"': 0 },
      { '': 0, '\n': 0 },
    ];
    const made = (
      await insertUsers(
        database,
        lists.map((attributes) => newUser({ attributes })),
      )
    ).map(userIn);
    for (let turn = 0; turn < 3; turn++) {
      const read = await selectUsers(
        database,
        made.map((user) => user.id),
      );
      expect(read.map((user) => user?.attributes)).toEqual(lists);
    }
  });

  it('accepts the longest possible texts, even if their normal form is longer', async () => {
    // Three times as long in NFC; a row of an index may have 2704 bytes.
    const growing = [
      '\u{1d160}',
      '\u{1d161}',
      '\u{1d162}',
      '\u{1d163}',
      '\u{1d164}',
      '\u{1d1bb}',
      '\u{1d1bd}',
      '\u{1d1bf}',
    ];
    for (let round = 0; round < 20; round++) {
      const local = Array.from({ length: 254 }, () => growing[Math.floor(Math.random() * growing.length)]).join('');
      const letters = Array.from({ length: 254 }, () =>
        String.fromCodePoint(0x20000 + Math.floor(Math.random() * 40_000)),
      );
      for (const email of [`${local}@b`, `${letters.join('')}@b`]) {
        const user = await created({ firstName: '😀'.repeat(256), lastName: '😀'.repeat(256), email });
        expect((await selectUsersByEmail(database, [email]))[0]?.id).toBe(user.id);
      }
    }
  });

  it('gives an email to one of two processes that create it at once, and EMAIL_TAKEN to the other', async () => {
    for (let round = 0; round < 30; round++) {
      const email = `${randomBytes(8).toString('hex')}@x`;
      const batches = [database, other, database, other].map((process) =>
        insertUsers(process, [newUser({ email }), newUser(), newUser({ email: email.toUpperCase() })]),
      );
      const outcomes = (await Promise.all(batches)).flat().map(said);
      expect(outcomes.filter((word) => word === 'made')).toHaveLength(4 + 1);
      expect(outcomes.filter((word) => word === 'EMAIL_TAKEN')).toHaveLength(8 - 1);
      expect(await count(email)).toBe(1);
    }
  });

  it('never deadlocks for the same emails in opposite orders in two processes', async () => {
    const emails = Array.from({ length: 100 }, () => `${randomBytes(8).toString('hex')}@x`);
    const deadlocks = await deadlocksIn(async (one, another) => {
      for (let round = 0; round < 10; round++) {
        const rows = (list: string[]) => list.map((email) => newUser({ email: `${round}${email}` }));
        const outcomes = await Promise.all([
          insertUsers(one, rows(emails)),
          insertUsers(another, rows(emails.toReversed())),
          insertUsers(one, rows(emails.toSorted())),
        ]);
        expect(outcomes.flat().filter((outcome) => said(outcome) === 'made')).toHaveLength(100);
      }
    });
    expect(deadlocks).toBe(0);
  });
});

describe('the database itself', () => {
  const insert = (email: string) =>
    testDatabase.query('insert into users (id, first_name, email) values (gen_random_uuid(), $1, $2)', ['x', email]);

  it.each([
    ['A@x', 'a@x'],
    ['a@EXAMPLE.com', 'a@example.COM'],
    ['Ä@x', 'ä@x'],
    ['\u00e4@x', 'a\u0308@x'],
    ['A\u0308@x', '\u00e4@x'],
    ['İ@x', 'i\u0307@x'],
    ['ΑΒΓ@x', 'αβγ@x'],
    ['ΟΔΟΣ@x', 'οδος@x'],
    ['ẞ@x', 'ß@x'],
    ['STRASSE@x', 'straße@x'],
    ['ı@x', 'I@x'],
    ['ﬁ@x', 'FI@x'],
    ['a@bücher.example', 'A@xn--BCHER-kva.example'],
    ['Я@x', 'я@x'],
    ['𐐀@x', '𐐨@x'],
    ['K@x', 'k@x'],
    ['Å@x', 'å@x'],
    ['Ǆ@x', 'ǆ@x'],
    ['\u1e69@x', 's\u0307\u0323@x'],
  ])('treats %s and %s as one email', async (one, another) => {
    const tag = randomBytes(4).toString('hex');
    await insert(tag + one);
    await expect(insert(tag + another)).rejects.toMatchObject({ constraint: 'users_email_key' });
    const [found, foundToo] = await selectUsersByEmail(database, [tag + one, tag + another]);
    expect(found?.email).toBe(tag + one);
    expect(foundToo).toEqual(found);
  });

  it.each([
    ['İ@x', 'i@x'],
    ['é@x', 'e@x'],
    ['ａ@x', 'a@x'],
    ['a@x', 'а@x'],
    ['a@x', 'a@x '],
    ['a@x', 'a@x\n'],
  ])('treats %j and %j as two emails', async (one, another) => {
    const tag = randomBytes(4).toString('hex');
    await insert(tag + one);
    await insert(tag + another);
    const found = await selectUsersByEmail(database, [tag + one, tag + another]);
    expect(found.map((user) => user?.email)).toEqual([tag + one, tag + another]);
  });

  it('has one key for texts with the same NFC', async () => {
    const letters = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 });
    const texts = fc.sample(letters, 500).filter((text) => !text.includes('\0'));
    const keys = await testDatabase.query<{ same: boolean; again: boolean }>(
      `select email_key(a) = email_key(b) as same, email_key(email_key(a)) = email_key(a) as again
       from unnest($1::text[], $2::text[]) as input(a, b)`,
      [texts, texts.map((text) => text.normalize('NFD'))],
    );
    expect(keys.filter((row) => !row.same || !row.again)).toEqual([]);
  });
});
