#!/bin/bash
# Creates Roster's role and database. The image of Postgres runs this once, when its volume is empty.
set -e
psql --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set ON_ERROR_STOP=1 --quiet <<'SQL'
\getenv superuser POSTGRES_USER
\getenv password POSTGRES_PASSWORD
-- Not a superuser. It may create databases, because `npm test` does.
CREATE ROLE roster LOGIN CREATEDB PASSWORD :'password';
CREATE DATABASE roster OWNER roster;
-- Roster's password must not be the superuser's. `docker compose exec postgres psql --username postgres` needs no password.
ALTER ROLE :"superuser" PASSWORD NULL;
SQL
