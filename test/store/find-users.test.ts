/** Users that are found by id or email, through indexes. */
import { v7 as uuidv7 } from 'uuid';
import { describe, expect, it } from 'vitest';
import { fieldColumns } from '../../src/database/columns.js';
import { type Database, openDatabase, type Statement } from '../../src/database/database.js';
import { deleteUsers } from '../../src/store/delete-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { updateUsers } from '../../src/store/update-users.js';
import { createTestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';
import { selectUsers, selectUsersByEmail } from '../support/stored-users.js';
import { created, database, newUser, testDatabase, userIn } from './two-processes.js';

describe('selectUsers and selectUsersByEmail', () => {
  it('return users in the order of the request, with repetitions', async () => {
    const [ada, bob] = [await created(), await created()];
    const nobody = uuidv7();
    expect(await selectUsers(database, [bob.id, nobody, ada.id, bob.id])).toEqual([bob, undefined, ada, bob]);
    expect(await selectUsersByEmail(database, [bob.email.toUpperCase(), 'nobody', ada.email, bob.email])).toEqual([
      bob,
      undefined,
      ada,
      bob,
    ]);
    expect(await selectUsers(database, [])).toEqual([]);
    expect(await selectUsersByEmail(database, [])).toEqual([]);
  });

  it('use their indexes', async () => {
    await testDatabase.query(`
      insert into users (id, first_name, email) select gen_random_uuid(), 'x', 'plan' || i || '@x' from generate_series(1, 10000) as i`);
    await testDatabase.query('analyze users');
    const plans: string[] = [];
    const explain = async ({ name, text }: Statement, values: readonly unknown[]) => {
      const explained = await database.run({ name: `explain-${name}`, text: `explain ${text}` }, values);
      plans.push(explained.map(([line]) => line).join('\n'));
    };
    const explaining: Database = {
      ...database,
      async run(statement, values) {
        await explain(statement, values);
        return database.run(statement, values);
      },
      async runBinary(statement, values) {
        await explain(statement, values);
        return database.runBinary(statement, values);
      },
    };
    await selectUsersByEmail(explaining, ['plan1@x']);
    await selectUsersByEmail(
      explaining,
      Array.from({ length: 100 }, (_, index) => `plan${index}@x`),
    );
    await selectUsers(explaining, [uuidv7()]);
    await updateUsers(explaining, [{ id: uuidv7(), version: undefined, fields: { email: 'new@x' } }]);
    await deleteUsers(explaining, [{ id: uuidv7(), version: undefined }]);
    expect(plans[0]).toContain('users_email_key');
    expect(plans[1]).toContain('users_email_key');
    expect(plans[2]).toContain('users_pkey');
    expect(plans[3]).toContain('users_email_key');
    for (const plan of plans) expect(plan).not.toContain('Seq Scan on users');
  });
});

describe('a statement that Postgres has planned once', () => {
  it('uses indexes, however few users existed', async () => {
    await using few = await createTestDatabase();
    const one = await openDatabase(databaseOptions(few.url, { connectionsMax: 1 }));
    try {
      const [user] = (await insertUsers(one, [newUser()])).map(userIn);
      if (user === undefined) throw new Error('nobody');
      await few.query('analyze users');
      // Postgres makes its generic plan after five custom plans.
      for (let count = 0; count < 8; count++) {
        await selectUsers(one, [user.id]);
        await selectUsersByEmail(one, [user.email]);
        await updateUsers(one, [{ id: user.id, version: undefined, fields: { lastName: `${count}` } }]);
      }
      const values: Partial<Record<string, string>> = { firstName: 'x', email: 'y' };
      const arrays = fieldColumns.map(({ property }) => `'{${values[property] ?? 'null'}}'`);
      const plans = await Promise.all(
        [
          `"select-users"('{${user.id}}')`,
          `"select-users-by-email"('{${user.email}}')`,
          `"update-users-wait"('{${user.id}}', '{null}', '{null}', '{null}', '{null}', ${arrays.join(', ')})`,
        ].map((statement) => one.run({ name: '', text: `explain (verbose) execute ${statement}` }, [])),
      );
      for (const plan of plans) {
        expect(plan.join('\n')).toContain('Index Scan using users_');
        expect(plan.join('\n')).not.toContain('Seq Scan on public.users');
      }
    } finally {
      await one.close();
    }
  });
});
