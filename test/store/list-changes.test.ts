/** Lists changes of users from a real Postgres. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Database } from '../../src/database/database.js';
import { openDatabase } from '../../src/database/database.js';
import { listChanges } from '../../src/store/list-changes.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';

const userId = '01a202f3-3534-751a-83af-cc0fa8e38a96';

describe('the changes to one user', () => {
  let scratch: TestDatabase;
  let database: Database;

  beforeAll(async () => {
    scratch = await createTestDatabase();
    database = await openDatabase(databaseOptions(scratch.url));
  });
  afterAll(async () => {
    await database?.close();
    await scratch?.[Symbol.asyncDispose]();
  });

  it('are ordered by number, also where the numbers get longer', async () => {
    await scratch.query(
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
