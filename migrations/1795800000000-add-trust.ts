import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Adds API keys, and who made each change.
 *
 * Nothing is rewritten: the new columns have no default. Servers of the previous version still write changes, without
 * an actor. The index serves the list of one user's changes. Writes pay little for it, because the ids of new users
 * ascend, and imports log them in that order.
 */
export class AddTrust1795800000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await lockChanges(runner);
    await runner.query('alter table changes add column actor text, add column request_id text');
    await runner.query('create index changes_user_id on changes (user_id, seq)');
    await runner.query(`
      create table api_keys (
        id text collate "C" not null constraint api_keys_pkey primary key,
        name text not null,
        digest bytea not null,
        roles text[] not null,
        create_time timestamptz(3) not null default now(),
        expire_time timestamptz(3),
        revoke_time timestamptz(3),
        last_use_time timestamptz(3)
      )`);
    await runner.query('create unique index api_keys_name on api_keys (name) where revoke_time is null');
  }

  async down(runner: QueryRunner): Promise<void> {
    await lockChanges(runner);
    await runner.query('drop table api_keys');
    await runner.query('drop index changes_user_id');
    await runner.query('alter table changes drop column actor, drop column request_id');
  }
}

/**
 * Locks the change log. A backup may read it for hours. While a statement waits for this lock, all writes of users and all
 * watches wait for that statement, so it gives up after a second and tries again later.
 */
async function lockChanges(runner: QueryRunner): Promise<void> {
  await runner.query(`
    do $$ begin
      loop
        begin
          set local lock_timeout = '1s';
          lock table changes in access exclusive mode;
          set local lock_timeout = 0;
          return;
        exception when lock_not_available then
          perform pg_sleep(4);
        end;
      end loop;
    end $$`);
}
