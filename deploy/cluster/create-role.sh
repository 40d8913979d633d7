#!/bin/bash
# Creates Roster's role and database. Patroni runs this once, with a connection string of the new cluster.
set -e
psql "$1" --set ON_ERROR_STOP=1 --quiet <<'SQL'
\getenv password ROSTER_PASSWORD
CREATE ROLE roster LOGIN PASSWORD :'password';
-- PgBouncer does not pass Roster's timeouts on (docs/operations.md).
ALTER ROLE roster SET statement_timeout = '30s';
ALTER ROLE roster SET lock_timeout = '5s';
ALTER ROLE roster SET idle_in_transaction_session_timeout = '30s';
CREATE DATABASE roster OWNER roster;
SQL
