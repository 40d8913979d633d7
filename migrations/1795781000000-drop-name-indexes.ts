import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Drops the indexes for lists by name and for searches from a small directory, where they only slow down writes. Roster
 * builds each of them again when a list needs it (docs/decisions/0030-indexes-follow-use.md).
 *
 * A large directory keeps them, because its clients may use them, and a build takes minutes.
 */
export class DropNameIndexes1795781000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // Dropping an index waits for all transactions on the table, and all later ones wait for it. After a second, this
    // gives up and keeps the indexes, which does no harm.
    await runner.query(`
      do $$ begin
        if not exists (select from users offset 20000 limit 1) then
          set local lock_timeout = '1s';
          drop index if exists users_first_name_id, users_last_name_id, users_search;
        end if;
        set local lock_timeout = 0;
      exception when lock_not_available then
        null;
      end $$`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('create index if not exists users_first_name_id on users (first_name, id)');
    await runner.query('create index if not exists users_last_name_id on users (last_name, id)');
  }
}
