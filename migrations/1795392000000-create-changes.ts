import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Creates the change log: one row for each change of a user, without the user's data.
 *
 * It is read in windows between two snapshots (src/store/read-changes.ts), because neither seq nor xid alone identifies
 * new rows.
 */
export class CreateChanges1795392000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // No foreign key, because a deletion is a change too. The types are those of users.v1.UserChange.
    await runner.query(`
      create table changes (
        seq bigint generated always as identity constraint changes_pkey primary key,
        xid xid8 not null default pg_current_xact_id(),
        user_id uuid not null,
        type smallint not null constraint changes_type check (type in (2, 3, 4)),
        change_time timestamptz(3) not null default now()
      )`);
    await runner.query('create index changes_xid on changes (xid)');

    // Tokens are checked against the only row. Its xid equals its hidden xmin on the server that wrote it, but not
    // after a dump and a restore. A clone on the same server has another oid.
    await runner.query(`
      create table change_feed (
        id uuid constraint change_feed_pkey primary key default gen_random_uuid(),
        xid xid8 not null default pg_current_xact_id(),
        database_oid oid not null,
        trimmed_xid xid8 not null default '0'
      )`);
    await runner.query('create unique index change_feed_is_one on change_feed ((true))');
    await runner.query(`
      insert into change_feed (database_oid) select oid from pg_database where datname = current_database()`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table change_feed');
    await runner.query('drop table changes');
  }
}
