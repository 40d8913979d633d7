/** Types of Postgres that TypeORM does not list. Its schema builder handles them like any other type. */
import type { ColumnType } from 'typeorm';

/** A transaction id of 64 bits, which never wraps around. The driver returns it as text. */
export const xid8 = 'xid8' as string as ColumnType;

/** The id of an object in Postgres' catalogs. */
export const oid = 'oid' as string as ColumnType;

/** A position in the write-ahead log. The driver returns it as text. */
export const pgLsn = 'pg_lsn' as string as ColumnType;

/** For `driver.supportedDataTypes`, because TypeORM rejects other types. */
export const unlistedTypes: readonly ColumnType[] = [xid8, oid, pgLsn];
