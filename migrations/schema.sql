-- What the migrations make, for reading and for review. UPDATE_SCHEMA=1 renews it: test/store/schema.test.ts.

CREATE OR REPLACE FUNCTION public.email_key(email text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (octet_length(email) = char_length(email)) THEN (lower((email COLLATE "C")) COLLATE "und-x-icu") ELSE lower((NORMALIZE(email, NFC) COLLATE "und-x-icu")) END;

CREATE OR REPLACE FUNCTION public.search_text(first_name text, last_name text, email text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (((octet_length(first_name) + octet_length(last_name)) + octet_length(email)) = ((char_length(first_name) + char_length(last_name)) + char_length(email))) THEN (lower((((((first_name || chr(10)) || last_name) || chr(10)) || email) COLLATE "C")) COLLATE "und-x-icu") ELSE lower((NORMALIZE(((((first_name || chr(10)) || last_name) || chr(10)) || email), NFC) COLLATE "und-x-icu")) END;

create table change_feed (
  id uuid not null default gen_random_uuid(),
  xid xid8 not null default pg_current_xact_id(),
  database_oid oid not null,
  trimmed_xid xid8 not null default '0'::xid8,
  constraint change_feed_pkey PRIMARY KEY (id)
);

create table changes (
  seq bigint not null identity,
  xid xid8 not null default pg_current_xact_id(),
  user_id uuid not null,
  type smallint not null,
  change_time timestamp(3) with time zone not null default now(),
  constraint changes_pkey PRIMARY KEY (seq),
  constraint changes_type CHECK ((type = ANY (ARRAY[2, 3, 4])))
);

create table directory (
  id uuid not null,
  secret bytea not null,
  constraint directory_pkey PRIMARY KEY (id)
);

create table request_ids (
  request_id uuid not null,
  digest bytea not null,
  user_ids uuid[] not null,
  create_time timestamp(3) with time zone not null default now(),
  constraint request_ids_pkey PRIMARY KEY (request_id)
);

create table roster_migrations (
  id integer not null default nextval('roster_migrations_id_seq'::regclass),
  "timestamp" bigint not null,
  name character varying not null,
  constraint "PK_1abf5edc4ab94a466f8c4c93e2f" PRIMARY KEY (id)
);

create table users (
  id uuid not null,
  first_name text collate "C" not null,
  last_name text collate "C" not null default ''::text,
  email text collate "C" not null,
  profile_image_url text collate "C" not null default ''::text,
  attributes jsonb not null default '{}'::jsonb,
  create_time timestamp(3) with time zone not null default now(),
  update_time timestamp(3) with time zone not null default now(),
  version integer not null default 1,
  constraint users_pkey PRIMARY KEY (id)
);

CREATE UNIQUE INDEX change_feed_is_one ON public.change_feed USING btree ((true));
CREATE INDEX changes_xid ON public.changes USING btree (xid);
CREATE UNIQUE INDEX directory_is_one ON public.directory USING btree ((true));
CREATE INDEX request_ids_create_time ON public.request_ids USING btree (create_time);
CREATE INDEX users_create_time_id ON public.users USING btree (create_time, id);
CREATE UNIQUE INDEX users_email_key ON public.users USING btree (email_key(email));
CREATE INDEX users_first_name_id ON public.users USING btree (first_name, id);
CREATE INDEX users_last_name_id ON public.users USING btree (last_name, id);

-- sequence changes_seq_seq
-- sequence roster_migrations_id_seq
