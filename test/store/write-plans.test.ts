/**
 * The statements that write must keep their golden plans, so that a change that makes Postgres read more is seen, and an
 * update must write no index entry without need.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fieldColumnNames, type Row } from '../../src/database/columns.js';
import { type Database, openDatabase } from '../../src/database/database.js';
import type { Session } from '../../src/database/session.js';
import { deleteUsers } from '../../src/store/delete-users.js';
import {
  analyzeStagedUsers,
  analyzeSteps,
  countSteps,
  createStagedUsers,
  createSteps,
  findRowsNotInserted,
  findTakenRows,
  insertStagedUsers,
  insertStagedUsersSkippingTaken,
  joinRepeatedRows,
  lockExistingUsers,
  upsertStagedUsers,
} from '../../src/store/import-statements.js';
import { insertAllUsers } from '../../src/store/insert-all-users.js';
import { insertUsers } from '../../src/store/insert-users.js';
import { deleteExpiredRequests } from '../../src/store/request-ids.js';
import { trimChanges } from '../../src/store/trim-changes.js';
import { updateUsers } from '../../src/store/update-users.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions, someFields } from '../support/open-database.js';
import { type PlanNode, planShape } from '../support/plan-shape.js';

const goldenFile = new URL('write-plans.txt', import.meta.url);
const goldenHead =
  'The plans of the statements that write, with 50,000 users, on Postgres 18. UPDATE_PLANS=1 updates them: write-plans.test.ts.\n';

let testDatabase: TestDatabase;
let database: Database;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  // All calls use one connection, which then knows their prepared statements.
  database = await openDatabase(databaseOptions(testDatabase.url, { connectionsMax: 1 }));
  await testDatabase.query(`
    insert into users (id, first_name, last_name, email, attributes, create_time, update_time)
    select gen_random_uuid(), 'First' || n % 500, 'Last' || n % 5000, 'user' || n || '@example.com', '{"level": 3}', time, time
    from generate_series(1, 50000) as n, lateral (select now() - n * interval '1 minute') as times(time)`);
  await testDatabase.query('insert into changes (user_id, type, change_time) select id, 2, create_time from users');
  await testDatabase.query(`
    insert into request_ids (request_id, digest, user_ids, create_time) select gen_random_uuid(), '', array[id], create_time from users`);
  await testDatabase.query('vacuum (analyze) users, changes, request_ids');
});

afterAll(async () => {
  await database?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

const run = (text: string, values: readonly unknown[] = []) => database.run({ name: '', text }, values);

const explain = 'explain (costs off, format json)';
function shapeOf(rows: readonly Row[]): string {
  const [[plans] = []] = rows as [{ Plan: PlanNode }[]][];
  return planShape(plans?.[0]?.Plan ?? { 'Node Type': 'none' });
}

/** The plans of the statements with a name that the calls have prepared, as they are for any values. */
async function preparedPlans(): Promise<[name: string, shape: string][]> {
  await run(`select set_config('plan_cache_mode', 'force_generic_plan', false)`);
  const statements = (await run(
    `select name, cardinality(parameter_types) from pg_prepared_statements where name <> '' order by name`,
  )) as [string, number][];
  const plans: [string, string][] = [];
  for (const [name, count] of statements) {
    const nulls = Array<string>(count).fill('null').join(', ');
    plans.push([name, shapeOf(await run(`${explain} execute "${name}"(${nulls})`))]);
  }
  return plans;
}

/** The plans of the statements that `work` runs with TypeORM. */
async function ormPlans(name: string, work: () => Promise<unknown>): Promise<[name: string, shape: string][]> {
  const statements: [string, unknown[]][] = [];
  const { logger } = database.dataSource;
  const noLog = () => {};
  database.dataSource.logger = {
    logQuery: (text, values) => statements.push([text, Array.isArray(values) ? values : []]),
    logQueryError: noLog,
    logQuerySlow: noLog,
    logSchemaBuild: noLog,
    logMigration: noLog,
    log: noLog,
  };
  await work();
  database.dataSource.logger = logger;
  const plans: [string, string][] = [];
  for (const [text, values] of statements) {
    if (/^(?:delete|update|insert)/i.test(text)) plans.push([name, shapeOf(await run(`${explain} ${text}`, values))]);
  }
  return plans;
}

const author = ['key:billing', 'request-1'];

/** The plans of an import of 20,000 rows, half of them with a taken email, and 1000 emails twice. */
async function importPlans(session: Session): Promise<[name: string, shape: string][]> {
  const plans: [string, string][] = [];
  const add = async (name: string, statement: string, values: readonly unknown[] = []) => {
    plans.push([name, shapeOf(await session.query(`${explain} ${statement}`, values))]);
  };
  await session.query(createStagedUsers);
  await session.query(`
    insert into staged_users (row, id, ${fieldColumnNames})
    select n, gen_random_uuid(), 'Ada', 'Lovelace', 'user' || 40000 + n % 19000 || '@example.com', '', '{}'
    from generate_series(1, 20000) as n`);
  await add('import, insert all', insertStagedUsers, author);
  await add('import, insert free', insertStagedUsersSkippingTaken, author);
  await add('import, rows not inserted', findRowsNotInserted, [100]);
  await session.query(analyzeStagedUsers);
  await add('import, taken rows', findTakenRows, [100]);
  await add('import, all steps', createSteps('all', 'replace'));
  await add('import, repeated steps', createSteps('repeated', 'replace'));
  await session.query(createSteps('repeated', 'replace'));
  await session.query(analyzeSteps);
  await add('import, join repeated rows', joinRepeatedRows('replace'));
  await session.query(joinRepeatedRows('replace'));
  await add('import, lock users', lockExistingUsers);
  await add('import, count steps', countSteps('replace'));
  await add('import, upsert', upsertStagedUsers('replace'), [false, ...author]);
  return plans;
}

it('every statement that writes has its golden plan', async (context) => {
  const [version] = (await run(`select current_setting('server_version_num')::integer / 10000`))[0] as [number];
  context.skip(version !== 18, 'The golden plans are those of Postgres 18.');
  const user = () => ({ id: uuidv7(), fields: someFields(), request: undefined });
  const request = { id: uuidv7(), digest: Buffer.from('digest') };
  const first = user();
  await insertUsers(database, [first]);
  await insertUsers(database, [{ ...user(), request }]);
  await insertAllUsers(database, [user()], { ...request, id: uuidv7() });
  await insertAllUsers(database, [{ ...user(), fields: first.fields }], undefined);
  await updateUsers(database, [{ id: first.id, version: undefined, fields: { firstName: 'Grace' } }]);
  await deleteUsers(database, [{ id: first.id, version: undefined }]);
  const plans = [
    ...(await preparedPlans()),
    ...(await ormPlans('trim the change log', () => trimChanges(database, { keptHours: 168, keptMax: 10 }, 1000))),
    ...(await ormPlans('delete expired request ids', () => deleteExpiredRequests(database, 1000))),
  ];
  await using session = await database.openSession(new AbortController().signal, { keepsState: true });
  plans.push(...(await importPlans(session)));

  const text = goldenHead + plans.map(([name, shape]) => `\n${name}\n${shape}`).join('');
  if (process.env.UPDATE_PLANS === '1') await writeFile(goldenFile, text);
  expect(
    text,
    'Postgres plans a statement in another way. If that is intended: UPDATE_PLANS=1 npx vitest run test/store/write-plans.test.ts',
  ).toBe(await readFile(goldenFile, 'utf8'));
});

it('an update of no indexed column writes no index entries', async () => {
  await using small = await createTestDatabase();
  const writer = await openDatabase(databaseOptions(small.url, { connectionsMax: 1 }));
  const counts = async () => {
    // Postgres counts a session's updates after its next statement.
    await writer.run({ name: '', text: 'select pg_stat_force_next_flush()' }, []);
    const text = `select n_tup_upd::integer, n_tup_hot_upd::integer from pg_stat_user_tables where relname = 'users'`;
    return await writer.run({ name: '', text }, []);
  };
  try {
    const user = { id: uuidv7(), fields: someFields(), request: undefined };
    await insertUsers(writer, [user]);
    for (const fields of [{ profileImageUrl: 'https://example.com/ada.png' }, { attributes: { level: 4 } }]) {
      await updateUsers(writer, [{ id: user.id, version: undefined, fields }]);
    }
    expect(await counts()).toEqual([[2, 2]]);
    await updateUsers(writer, [{ id: user.id, version: undefined, fields: { email: 'other@example.com' } }]);
    expect(await counts()).toEqual([[3, 2]]);
  } finally {
    await writer.close();
  }
});
