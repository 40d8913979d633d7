import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Creates the tables of users, of request ids that created users, and of the directory's identity.
 *
 * Runs on Postgres 15 to 18, in the first schema of the search path.
 */
export class CreateUsers1795305600000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // The only definition of equal emails. In ICU's root collation, because lower() of the C collation knows only
    // ASCII, and that of a libc collation differs between machines.
    await runner.query(`
      create function email_key(email text) returns text immutable parallel safe language sql
      return lower(normalize(email, NFC) collate "und-x-icu")`);
    // Texts are compared by code point, regardless of the database's collation, so that an upgrade of libc or ICU never
    // reorders an index or a page. Times have milliseconds, like a JavaScript Date.
    await runner.query(`
      create table users (
        id uuid constraint users_pkey primary key,
        first_name text collate "C" not null,
        last_name text collate "C" not null default '',
        email text collate "C" not null,
        profile_image_url text collate "C" not null default '',
        attributes jsonb not null default '{}',
        create_time timestamptz(3) not null default now(),
        update_time timestamptz(3) not null default now(),
        version integer not null default 1
      )`);
    await runner.query('create unique index users_email_key on users (email_key(email))');
    await runner.query('create index users_create_time_id on users (create_time, id)');

    await runner.query(`
      create table request_ids (
        request_id uuid constraint request_ids_pkey primary key,
        digest bytea not null,
        user_ids uuid[] not null,
        create_time timestamptz(3) not null default now()
      )`);
    await runner.query('create index request_ids_create_time on request_ids (create_time)');

    await runner.query('create table directory (id uuid constraint directory_pkey primary key, secret bytea not null)');
    await runner.query('create unique index directory_is_one on directory ((true))');
    // Two random UUIDs hold 244 random bits. pgcrypto would give 256, but is not allowed everywhere.
    await runner.query(`
      insert into directory (id, secret) values (gen_random_uuid(), uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table directory');
    await runner.query('drop table request_ids');
    await runner.query('drop table users');
    await runner.query('drop function email_key(text)');
  }
}
