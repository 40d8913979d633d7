import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Drops the indexes for lists by name and for searches from a small directory, where they only slow down writes. Roster
 * builds each of them again when a list needs it (docs/decisions/0030-indexes-follow-use.md).
 *
 * A large directory keeps them, because its clients may use them, and a build takes minutes.
 */
export class DropNameIndexes1795781000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // Dropping an index waits for all transactions on the table, and all later ones wait for it. If it must wait for a
    // second, or if the role does not own the table, this keeps the indexes, which does no harm. Another schema of the
    // search path may have indexes with these names, so the table identifies them.
    await runner.query(`
      do $$ declare
        index_name text;
      begin
        if not exists (select from users offset 20000 limit 1) then
          set local lock_timeout = '1s';
          for index_name in
            select indexrelid::regclass::text from pg_index join pg_class on pg_class.oid = indexrelid
            where indrelid = 'users'::regclass
              and relname in ('users_first_name_id', 'users_last_name_id', 'users_search')
          loop
            execute 'drop index ' || index_name;
          end loop;
        end if;
        set local lock_timeout = 0;
      exception when lock_not_available or insufficient_privilege then
        null;
      end $$`);
  }

  async down(runner: QueryRunner): Promise<void> {
    // The previous version does not rebuild an index of which the build was interrupted.
    await runner.query(`
      do $$ declare
        index_name text;
      begin
        for index_name in
          select indexrelid::regclass::text from pg_index join pg_class on pg_class.oid = indexrelid
          where indrelid = 'users'::regclass and relname in ('users_first_name_id', 'users_last_name_id')
            and not indisvalid
        loop
          execute 'drop index ' || index_name;
        end loop;
      end $$`);
    await runner.query('create index if not exists users_first_name_id on users (first_name, id)');
    await runner.query('create index if not exists users_last_name_id on users (last_name, id)');
  }
}
