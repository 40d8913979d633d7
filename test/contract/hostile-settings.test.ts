/** The contract on a database whose role settings change how Postgres reads and writes almost everything. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type App, startApp } from '../../src/app.js';
import { createClient } from '../../src/client/index.js';
import { parseServerConfig } from '../../src/config/parse.js';
import { openDatabase } from '../../src/database/database.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';
import { describeStreams } from './streams.js';
import { describeContract } from './suite.js';

const hostileSettings: Readonly<Record<string, string>> = {
  datestyle: 'German, DMY',
  intervalstyle: 'sql_standard',
  timezone: 'Asia/Kathmandu',
  client_encoding: 'LATIN1',
  standard_conforming_strings: 'off',
  escape_string_warning: 'on',
  backslash_quote: 'off',
  extra_float_digits: '-15',
  bytea_output: 'escape',
  array_nulls: 'off',
  transform_null_equals: 'on',
  quote_all_identifiers: 'on',
  gin_fuzzy_search_limit: '1',
  xmloption: 'document',
  default_transaction_isolation: 'serializable',
  default_transaction_deferrable: 'on',
  row_security: 'off',
  synchronous_commit: 'off',
  // Long enough for a connection to be prepared on a slow machine.
  idle_session_timeout: '30s',
  // Since Postgres 17.
  transaction_timeout: '30s',
};

let testDatabase: TestDatabase;
let app: App;
const lines: Record<string, unknown>[] = [];

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  // These functions would replace Postgres' own, and temporary tables would hide ours.
  await testDatabase.query('create schema hostile');
  for (const body of [
    `hostile.lower(text) returns text language sql immutable as $$ select 'hostile' $$`,
    `hostile.now() returns timestamptz language sql stable as $$ select timestamptz '1999-01-01' $$`,
    `hostile.gen_random_uuid() returns uuid language sql as $$ select uuid '00000000-0000-0000-0000-000000000000' $$`,
    `hostile.set_config(text, text, boolean) returns text language sql as $$ select 'hostile' $$`,
  ]) {
    await testDatabase.query(`create function ${body}`);
  }
  const names = Object.keys(hostileSettings);
  const known = await testDatabase.query<{ name: string }>('select name from pg_settings where name = any ($1)', [
    names,
  ]);
  // One statement, because the settings apply to the test's own new connections, too.
  const settings = known.map(({ name }) => `${name} = '${hostileSettings[name]}'`);
  const alter = (setting: string) => `alter role current_user in database ${testDatabase.name} set ${setting}`;
  await testDatabase.query([...settings, 'search_path = pg_temp, hostile, public, pg_catalog'].map(alter).join('; '));
  const config = parseServerConfig({
    DATABASE_URL: testDatabase.url,
    GRPC_ADDRESS: 'localhost:0',
    HTTP_ADDRESS: 'localhost:0',
    LOG_FORMAT: 'json',
  });
  app = await startApp(config, { logTo: { write: (text) => lines.push(JSON.parse(text)) } });
});
afterAll(async () => {
  await app?.close();
  await testDatabase?.[Symbol.asyncDispose]();
});

const clients: ReturnType<typeof createClient>[] = [];
function client() {
  const [known] = clients;
  if (known !== undefined) return known;
  const made = createClient({ address: `localhost:${app.grpc.port}` });
  clients.push(made);
  return made;
}
afterAll(() => {
  for (const made of clients) made.close();
});

describeContract('gRPC with hostile settings', client);
describeStreams('gRPC with hostile settings', client, { requests: true, both: true });

describe('a connection under hostile settings', () => {
  it('has the settings that statements and parsers rely on', async () => {
    const database = await openDatabase(databaseOptions(testDatabase.url, { connectionsMax: 1 }));
    try {
      const wanted = {
        DateStyle: 'ISO, MDY',
        TimeZone: 'UTC',
        standard_conforming_strings: 'on',
        array_nulls: 'on',
        gin_fuzzy_search_limit: '0',
        default_transaction_isolation: 'read committed',
        synchronous_commit: 'on',
        idle_session_timeout: '0',
        search_path: '"hostile", "public", pg_temp',
      };
      const text = `select ${Object.keys(wanted).map((name) => `current_setting('${name}')`)},
        coalesce(current_setting('transaction_timeout', true), '0')`;
      const expected = [...Object.values(wanted), '0'];
      expect(await database.run({ name: '', text }, [])).toEqual([expected]);
      await using session = await database.openSession(new AbortController().signal);
      expect(await session.query(text)).toEqual([expected]);
    } finally {
      await database.close();
    }
  });

  it('leaves no bug in the log', () => {
    expect(lines.filter(({ level }) => level === 'error')).toEqual([]);
  });
});
