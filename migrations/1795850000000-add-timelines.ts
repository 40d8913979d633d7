import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Adds the table of the timelines of Postgres that the directory has been on, with the current one.
 *
 * Resume tokens of earlier servers name no timeline. They count as tokens of the first row.
 */
export class AddTimelines1795850000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      create table timelines (
        seq integer constraint timelines_pkey primary key,
        id uuid not null default gen_random_uuid(),
        timeline bigint not null,
        fork_lsn pg_lsn,
        notice_time timestamptz(3) not null default now()
      )`);
    await runner.query(`
      insert into timelines (seq, timeline)
      select 1, ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::bigint`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table timelines');
  }
}
