/** The author of each change: every statement that writes users logs its author, and one user's changes can be listed. */
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import { deleteUsers } from '../../src/store/delete-users.js';
import { openStaging } from '../../src/store/import-users.js';
import { insertAllUsers } from '../../src/store/insert-all-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { listChanges } from '../../src/store/list-changes.js';
import { readChanges, readFeedPosition } from '../../src/store/read-changes.js';
import { renewChangeFeed } from '../../src/store/trim-changes.js';
import { updateUsers } from '../../src/store/update-users.js';
import { someFields } from '../support/open-database.js';
import { created, database, newUser, requestKey, testDatabase } from './two-processes.js';

const never = new AbortController().signal;
const by = (actor: string, requestId = `of-${actor}`) => ({ actor, requestId });

/** The changes to a user as words, the newest first. */
async function historyOf(userId: string): Promise<string[]> {
  const changes = await listChanges(database, { userId, rowsMax: 10 });
  return changes.map(({ type, actor, requestId }) => `${type} ${actor} ${requestId}`);
}

describe('every statement that writes users', () => {
  it('logs the author of each call, also if calls share it', async () => {
    const [ada, bob, eve] = [newUser(), newUser(), newUser({}, requestKey())];
    await insertUsers(database, [{ ...ada, author: by('a') }, bob]);
    await insertUsers(
      database,
      [
        { ...eve, author: by('e') },
        { ...newUser(), author: by('x') },
      ],
      'skip',
    );
    const rename = { version: undefined, fields: { firstName: 'Changed' } };
    await updateUsers(database, [
      { ...rename, id: ada.id, author: by('b') },
      { ...rename, id: bob.id, author: by('c', '') },
      { ...rename, id: eve.id, author: by('', 'd') },
    ]);
    await deleteUsers(database, [
      { id: bob.id, version: undefined, author: by('f') },
      { id: ada.id, version: undefined },
    ]);
    expect(await historyOf(ada.id)).toEqual(['deleted undefined undefined', 'updated b of-b', 'created a of-a']);
    expect(await historyOf(bob.id)).toEqual(['deleted f of-f', 'updated c undefined', 'created undefined undefined']);
    expect(await historyOf(eve.id)).toEqual(['updated undefined d', 'created e of-e']);
  });

  it('logs nothing for a repeated call, an unchanged user or a refused write', async () => {
    const request = requestKey();
    const first = newUser({}, request);
    await insertUsers(database, [{ ...first, author: by('first') }]);
    const repeat = newUser(first.fields, request);
    await insertUsers(database, [{ ...repeat, author: by('second') }]);
    await updateUsers(database, [{ id: first.id, version: undefined, fields: {}, author: by('second') }]);
    await deleteUsers(database, [{ id: first.id, version: 7, author: by('second') }]);
    expect(await historyOf(first.id)).toEqual(['created first of-first']);
    expect(await historyOf(repeat.id)).toEqual([]);
  });

  it('logs the author of a batch', async () => {
    const users = [newUser(), newUser()];
    await insertAllUsers(database, users, requestKey(), by('batch'));
    for (const { id } of users) expect(await historyOf(id)).toEqual(['created batch of-batch']);
  });

  it.each(['direct', 'staged', 'update'] as const)('logs the author of an import: %s', async (way) => {
    const existing = await created();
    const fields = [
      someFields(),
      ...(way === 'update' ? [someFields({ firstName: 'Eve', email: existing.email })] : []),
    ];
    const rows = fields.map((each, row) => ({ row, id: uuidv7(), fields: each }));
    // Actors are printable ASCII, which has a character that COPY interprets.
    const options = { takenRowsMax: 1, onWritten() {}, author: by('dns:a\\N\\b', 'import-1') };
    await using staging = await openStaging(database, options, never);
    if (way === 'direct') staging.writeDirectly();
    await staging.stage(rows);
    await staging.merge(way === 'update' ? 'update' : 'reject', way !== 'update');
    expect(await historyOf(rows[0]?.id ?? '')).toEqual(['created dns:a\\N\\b import-1']);
    if (way === 'update') expect((await historyOf(existing.id))[0]).toBe('updated dns:a\\N\\b import-1');
  });

  it('is what a watcher reads', async () => {
    // Like every start, because this database is a clone.
    await renewChangeFeed(database);
    const start = await readFeedPosition(database);
    const ada = newUser();
    await insertUsers(database, [{ ...ada, author: by('a') }, newUser()]);
    const { changes } = await readChanges(database, start, 10);
    expect(changes.map(({ actor, requestId }) => [actor, requestId])).toEqual([
      ['a', 'of-a'],
      [undefined, undefined],
    ]);
  });
});

describe('listChanges', () => {
  it('returns the changes before an entry, the newest first', async () => {
    const { id } = await created();
    for (const lastName of ['a', 'b', 'c'])
      await updateUsers(database, [{ id, version: undefined, fields: { lastName } }]);
    const all = await listChanges(database, { userId: id, rowsMax: 10 });
    expect(all.map(({ type }) => type)).toEqual(['updated', 'updated', 'updated', 'created']);
    expect(await listChanges(database, { userId: id, before: all[1]?.seq, rowsMax: 1 })).toEqual([all[2]]);
    expect(await listChanges(database, { userId: id, before: all[3]?.seq, rowsMax: 10 })).toEqual([]);
  });

  it('reads what a server of the previous version writes', async () => {
    const id = uuidv7();
    await testDatabase.query('insert into changes (user_id, type, change_time) select $1, 3, now()', [id]);
    expect(await historyOf(id)).toEqual(['updated undefined undefined']);
  });

  it('uses its index', async () => {
    await testDatabase.query(`
      insert into changes (user_id, type) select gen_random_uuid(), 2 from generate_series(1, 5000)`);
    await testDatabase.query('analyze changes');
    const plan = await testDatabase.query(`
      explain select seq from changes where user_id = '0190a5b0-1234-7abc-8def-0123456789ab' and seq < 9223372036854775807
      order by seq desc limit 51`);
    expect(JSON.stringify(plan)).toContain('changes_user_id');
  });

  it('orders changes by number, also where the numbers get longer', async () => {
    const userId = uuidv7();
    await testDatabase.query(
      `insert into changes (user_id, type, change_time, request_id)
       select $1, 3, now(), number::text from generate_series(1, 101) number`,
      [userId],
    );
    const read: (string | undefined)[] = [];
    for (let before: string | undefined; ; ) {
      const page = await listChanges(database, { userId, before, rowsMax: 40 });
      if (page.length === 0) break;
      read.push(...page.map(({ requestId }) => requestId));
      before = page.at(-1)?.seq;
    }
    expect(read).toEqual(Array.from({ length: 101 }, (_, index) => String(101 - index)));
  });
});
