/** Migrations must run completely or not at all, and only once with concurrent processes. */
import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import pg from 'pg';
import type { MigrationInterface, QueryRunner } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { DropNameIndexes1795781000000 } from '../../migrations/1795781000000-drop-name-indexes.js';
import { AddTrust1795800000000 } from '../../migrations/1795800000000-add-trust.js';
import { migrateDown, migrateUp, migrationStatus, UnknownMigrationsError } from '../../src/database/migrate.js';
import { migrations, migrationsTableName } from '../../src/database/migrations.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { databaseOptions } from '../support/open-database.js';
import { dumpSchema } from '../support/schema-dump.js';

const names = migrations.map((migration) => migration.name);

async function onDatabase(work: (database: TestDatabase) => Promise<void>, empty = false): Promise<void> {
  const database = await createTestDatabase();
  try {
    if (empty) {
      await database.query('drop schema public cascade');
      await database.query('create schema public');
    }
    await work(database);
  } finally {
    await database[Symbol.asyncDispose]();
  }
}

const onEmptyDatabase = (work: (database: TestDatabase) => Promise<void>) => onDatabase(work, true);

describe('migrations', () => {
  it('let writes go on while a backup reads the change log', () =>
    onEmptyDatabase(async (database) => {
      const [previous, last] = [0, 1].map((more) =>
        migrations.slice(0, names.indexOf(AddTrust1795800000000.name) + more),
      );
      await migrateUp(databaseOptions(database.url), previous, false);
      const backup = new pg.Client({ connectionString: database.url });
      await backup.connect();
      try {
        await backup.query('begin; select from changes');
        const migrating = migrateUp(databaseOptions(database.url), last);
        await expect
          .poll(() => database.query(`select from pg_locks where not granted and relation = 'changes'::regclass`))
          .toHaveLength(1);
        // Without a limit, this waits for the migration, and the migration for the backup.
        await database.query('insert into changes (user_id, type, change_time) values (gen_random_uuid(), 2, now())');
        await backup.query('commit');
        expect((await migrating).changed).toEqual([AddTrust1795800000000.name]);
      } finally {
        await backup.end();
      }
    }));

  it('need no right to use API keys on a server that does not use them', () =>
    onDatabase(async (database) => {
      const role = `roster_test_${randomBytes(6).toString('hex')}`;
      await database.query(`create role ${role} login password 'roster'`);
      try {
        await database.query(`grant select, insert, update, delete on all tables in schema public to ${role}`);
        await database.query(`revoke all on api_keys from ${role}`);
        const url = Object.assign(new URL(database.url), { username: role, password: 'roster' }).href;
        await expect(migrateUp(databaseOptions(url))).rejects.toThrow(
          `; GRANT SELECT, UPDATE (last_use_time) ON api_keys TO ${role}; `,
        );
        expect((await migrateUp(databaseOptions(url), migrations, false)).changed).toEqual([]);
      } finally {
        await database.query(`drop owned by ${role}`);
        await database.query(`drop role ${role}`);
      }
    }));

  it('are all in the list, in the order of their numbers', async () => {
    const files = (await readdir(new URL('../../migrations', import.meta.url))).filter((file) => file.endsWith('.ts'));
    // 1-create-tables.ts contains CreateTables1.
    const listed = names.map((name) =>
      name.replace(/^(.*?)(\d+)$/, (_, words: string, number: string) => {
        return `${number}${words.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}.ts`;
      }),
    );
    expect(listed).toEqual(files.toSorted());
  });

  it('go up, down and up again to the same schema', () =>
    onDatabase(async (database) => {
      const options = databaseOptions(database.url);
      const before = await dumpSchema(database);
      for (const name of names.toReversed()) {
        expect((await migrateDown(options)).changed).toEqual([name]);
      }
      expect(await dumpSchema(database)).not.toMatch(/users|email_key|request_ids|directory/);
      expect(await migrationStatus(options)).toEqual({ applied: [], pending: names, unknown: [] });
      expect(await migrateUp(options)).toEqual({ applied: names, pending: [], unknown: [], changed: names });
      expect(await dumpSchema(database)).toBe(before);
    }));

  it('can be undone if the search index exists, which uses a function of theirs', () =>
    onDatabase(async (database) => {
      await database.query('create extension pg_trgm');
      const index = 'create index users_search on users using gin';
      await database.query(`${index} (search_key(first_name, last_name, email) gin_trgm_ops)`);
      for (const _ of names) await migrateDown(databaseOptions(database.url));
      expect((await migrationStatus(databaseOptions(database.url))).applied).toEqual([]);
    }));

  it('leave nothing behind after all are undone except their empty list', () =>
    onDatabase(async (database) => {
      for (const _ of names) await migrateDown(databaseOptions(database.url));
      const left = await database.query<{ relname: string }>(
        `select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm')`,
      );
      expect(left).toEqual([{ relname: migrationsTableName }]);
      expect(await database.query(`select from ${migrationsTableName}`)).toEqual([]);
      expect(await database.query(`select from pg_proc where pronamespace = 'public'::regnamespace`)).toEqual([]);
    }));

  it('do nothing if nothing is pending', () =>
    onDatabase(async (database) => {
      const options = databaseOptions(database.url);
      expect((await migrateUp(options)).changed).toEqual([]);
      for (const _ of names) await migrateDown(options);
      expect(await migrateDown(options)).toEqual({ applied: [], pending: names, unknown: [], changed: [] });
    }));

  it('report the status of an empty database without changing it', () =>
    onEmptyDatabase(async (database) => {
      expect(await migrationStatus(databaseOptions(database.url))).toEqual({
        applied: [],
        pending: names,
        unknown: [],
      });
      expect(await database.query(`select from pg_class where relnamespace = 'public'::regnamespace`)).toEqual([]);
    }));

  it('run once, even if many processes start at once', () =>
    onEmptyDatabase(async (database) => {
      const results = await Promise.all(Array.from({ length: 20 }, () => migrateUp(databaseOptions(database.url))));
      expect(results.filter((result) => result.changed.length > 0)).toHaveLength(1);
      for (const result of results) expect(result.applied).toEqual(names);
      expect(await database.query(`select name from ${migrationsTableName}`)).toEqual(names.map((name) => ({ name })));
      expect(await database.query('select from directory')).toHaveLength(1);
    }));

  it('wait for others longer than any statement may take', () =>
    onEmptyDatabase(async (database) => {
      const shortTimeouts = databaseOptions(database.url, { statementTimeoutMs: 1, lockTimeoutMs: 1 });
      const results = await Promise.all([1, 2, 3].map(() => migrateUp(shortTimeouts)));
      expect(results.flatMap((result) => result.changed)).toEqual(names);
    }));

  it('leave nothing behind if one fails halfway', () =>
    onEmptyDatabase(async (database) => {
      const options = databaseOptions(database.url);
      // A foreign table, in the way of the second one that is created.
      await database.query('create table request_ids (theirs text)');
      const before = await dumpSchema(database);
      await expect(migrateUp(options)).rejects.toThrow(/request_ids/);
      expect(await dumpSchema(database)).toBe(before);
      await database.query('drop table request_ids');
      expect((await migrateUp(options)).changed).toEqual(names);
    }));

  it('reject a schema that is newer than this program, and show its migrations', () =>
    onDatabase(async (database) => {
      const options = databaseOptions(database.url);
      const newer = 'FromTheFuture9999999999999';
      await database.query(`insert into ${migrationsTableName} (timestamp, name) values (9999999999999, $1)`, [newer]);
      await expect(migrateUp(options)).rejects.toThrow(UnknownMigrationsError);
      await expect(migrateUp(options)).rejects.toThrow(
        `newer than this Roster. It has migrations that this version does not know: ${newer}.`,
      );
      await expect(migrateDown(options)).rejects.toThrow(UnknownMigrationsError);
      expect(await migrationStatus(options)).toEqual({ applied: [...names, newer], pending: [], unknown: [newer] });
      expect(await database.query('select from users')).toEqual([]);
    }));

  it('reject a database of a development version, and say what to do', () =>
    onDatabase(async (database) => {
      const old = 'CreateUsers1795305600000';
      await database.query(`update ${migrationsTableName} set timestamp = 1795305600000, name = $1 where name = $2`, [
        old,
        names[0],
      ]);
      await expect(migrateUp(databaseOptions(database.url))).rejects.toThrow(
        `created by a development version of Roster. It has migrations that no release has: ${old}. Move its users as docs/operations.md describes`,
      );
      expect(await database.query('select from users')).toEqual([]);
    }));

  it('fail with DATABASE_UNAVAILABLE if they cannot reach the database', async () => {
    // No server listens on port 1.
    await expect(migrateUp(databaseOptions('postgres://postgres@127.0.0.1:1/x'))).rejects.toMatchObject({
      reason: 'DATABASE_UNAVAILABLE',
    });
  });

  it('create the same schema in any schema that is first in the search path', () =>
    onEmptyDatabase(async (database) => {
      await database.query('create schema directory_of_ours');
      await database.query(`alter database ${database.name} set search_path = directory_of_ours`);
      const options = databaseOptions(database.url);
      expect((await migrateUp(options)).changed).toEqual(names);
      expect((await migrateUp(options)).changed).toEqual([]);
      const made = await database.query(`select from pg_class where relnamespace = 'directory_of_ours'::regnamespace`);
      expect(made).not.toEqual([]);
      expect(await database.query(`select from pg_class where relnamespace = 'public'::regnamespace`)).toEqual([]);
    }));
});

describe('the migration that drops the indexes for lists', () => {
  const place = migrations.indexOf(DropNameIndexes1795781000000);
  const names = ['users_first_name_id', 'users_last_name_id', 'users_search'];

  /** Migrates to the previous version, adds users and all indexes, and calls `work`. */
  const onPreviousVersion = (users: number, work: (database: TestDatabase) => Promise<void>) =>
    onEmptyDatabase(async (database) => {
      await migrateUp(databaseOptions(database.url), migrations.slice(0, place));
      await database.query(
        `insert into users (id, first_name, email)
         select gen_random_uuid(), 'Ada', 'e' || i || '@x' from generate_series(1, $1::int) as i`,
        [users],
      );
      await database.query('create index users_search on users (last_name)');
      await work(database);
    });

  async function indexesAfter(database: TestDatabase): Promise<string[]> {
    await migrateUp(databaseOptions(database.url), migrations.slice(0, place + 1));
    const rows = await database.query<{ relname: string }>(
      `select relname from pg_class where relname = any ($1) order by relname`,
      [names],
    );
    return rows.map(({ relname }) => relname);
  }

  it.each([
    [20_000, []],
    [20_001, names],
  ])('leaves a directory of %i users with the indexes %j', (users, left) =>
    onPreviousVersion(users, async (database) => {
      expect(await indexesAfter(database)).toEqual(left);
      expect(await database.query('select from users')).toHaveLength(users);
      expect((await migrateDown(databaseOptions(database.url), migrations.slice(0, place + 1))).changed).toEqual([
        DropNameIndexes1795781000000.name,
      ]);
    }),
  );

  it('keeps the indexes if a transaction uses the table, so that no call waits', () =>
    onPreviousVersion(1, async (database) => {
      const reader = new pg.Client({ connectionString: database.url });
      await reader.connect();
      try {
        await reader.query('begin');
        await reader.query('select from users');
        expect(await indexesAfter(database)).toEqual(names);
      } finally {
        await reader.end();
      }
    }));

  it('keeps an index of the same name that another program has in a later schema of the search path', () =>
    onEmptyDatabase(async (database) => {
      await database.query('create table users (name text)');
      for (const name of names) await database.query(`create index ${name} on users (name)`);
      await database.query('create schema roster');
      await database.query(`alter database ${database.name} set search_path = roster, public`);
      const options = databaseOptions(database.url);
      await migrateUp(options, migrations.slice(0, place));
      await database.query('drop index roster.users_first_name_id, roster.users_last_name_id');
      await migrateUp(options, migrations.slice(0, place + 1));
      while ((await migrateDown(options, migrations.slice(0, place + 1))).applied.length > 0);
      expect(await database.query('select from pg_class where relname = any ($1)', [names])).toHaveLength(3);
    }));

  it('keeps the indexes if the role does not own the table', () =>
    onPreviousVersion(1, async (database) => {
      const role = `roster_test_${randomBytes(6).toString('hex')}`;
      await database.query(`create role ${role} login password 'roster'`);
      try {
        await database.query(`grant all on schema public to ${role}`);
        await database.query(`grant all on all tables in schema public to ${role}`);
        await database.query(`grant all on all sequences in schema public to ${role}`);
        const url = Object.assign(new URL(database.url), { username: role, password: 'roster' }).href;
        expect(await indexesAfter(Object.assign(Object.create(database), { url }))).toEqual(names);
      } finally {
        await database.query(`drop owned by ${role}`);
        await database.query(`drop role ${role}`);
      }
    }));

  it('replaces an unusable index when it is undone, because the previous version would not', () =>
    onDatabase(async (database) => {
      await database.query('create index users_last_name_id on users (last_name, id)');
      await database.query(`update pg_index set indisvalid = false where indexrelid = 'users_last_name_id'::regclass`);
      const options = databaseOptions(database.url);
      for (let newest = migrations.length - 1; newest >= place; newest--) {
        expect((await migrateDown(options)).changed).toEqual([migrations[newest]?.name]);
      }
      const valid = await database.query(
        `select indisvalid from pg_index join pg_class on pg_class.oid = indexrelid where relname = any ($1)`,
        [names],
      );
      expect(valid).toEqual([{ indisvalid: true }, { indisvalid: true }]);
    }));
});

/** Emails that differ only in dots become one email. */
class IgnoreDots9000000000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('drop index users_email_key');
    await runner.query('alter function email_key(text) rename to email_key_before');
    await runner.query(`
      create function email_key(email text) returns text immutable parallel safe language sql
      return replace(email_key_before(email), '.', '')`);
    const same = await runner.query('select from users group by email_key(email) having count(*) > 1');
    if (same.length > 0) throw new Error('The schema was not changed, because two users have one email.');
    await runner.query('create unique index users_email_key on users (email_key(email))');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop index users_email_key');
    await runner.query('drop function email_key(text)');
    await runner.query('alter function email_key_before(text) rename to email_key');
    await runner.query('create unique index users_email_key on users (email_key(email))');
  }
}

describe('a migration of the next version', () => {
  const next = [...migrations, IgnoreDots9000000000000];
  const insert = (database: TestDatabase, email: string) =>
    database.query(`insert into users (id, first_name, email) values (gen_random_uuid(), 'Ada', $1)`, [email]);

  it('is applied to a database with users, and can be undone', () =>
    onDatabase(async (database) => {
      const options = databaseOptions(database.url);
      const before = await dumpSchema(database);
      await insert(database, 'ada.lovelace@x');
      expect((await migrateUp(options, next)).changed).toEqual([IgnoreDots9000000000000.name]);
      await expect(insert(database, 'adalovelace@x')).rejects.toMatchObject({ constraint: 'users_email_key' });
      await expect(migrateUp(options)).rejects.toThrow(UnknownMigrationsError);
      expect((await migrateDown(options, next)).changed).toEqual([IgnoreDots9000000000000.name]);
      expect(await dumpSchema(database)).toBe(before);
      await insert(database, 'adalovelace@x');
    }));

  it('changes nothing if it fails, and its error says why', () =>
    onDatabase(async (database) => {
      const options = databaseOptions(database.url);
      const before = await dumpSchema(database);
      await insert(database, 'ada.lovelace@x');
      await insert(database, 'adalovelace@x');
      await expect(migrateUp(options, next)).rejects.toThrow(
        /^The schema was not changed, because two users have one email\.$/,
      );
      expect(await dumpSchema(database)).toBe(before);
      await database.query(`delete from users where email = 'adalovelace@x'`);
      expect((await migrateUp(options, next)).changed).toEqual([IgnoreDots9000000000000.name]);
    }));

  it('applies to connections that were open before', () =>
    onDatabase(async (database) => {
      const client = new pg.Client({ connectionString: database.url });
      await client.connect();
      try {
        const text = `insert into users (id, first_name, email) values (gen_random_uuid(), 'Ada', $1) on conflict (email_key(email)) do nothing`;
        const inserted = async (email: string) =>
          (await client.query({ name: 'insert', text, values: [email] })).rowCount;
        expect(await inserted('ada.lovelace@x')).toBe(1);
        await migrateUp(databaseOptions(database.url), next);
        expect(await inserted('adalovelace@x')).toBe(0);
        await migrateDown(databaseOptions(database.url), next);
        expect(await inserted('adalovelace@x')).toBe(1);
        expect(await inserted('ADA.lovelace@x')).toBe(0);
      } finally {
        await client.end();
      }
    }));
});
