/** Types of Postgres that TypeORM does not list. Its schema builder handles them like any other type. */
import type { ColumnType } from 'typeorm';

/** A transaction's number, which never wraps around. The driver returns it as text. */
export const xid8 = 'xid8' as string as ColumnType;

/** A number that Postgres gives to an object of its catalogs. */
export const oid = 'oid' as string as ColumnType;

/** For `driver.supportedDataTypes`, because TypeORM rejects other types. */
export const moreTypes: readonly ColumnType[] = [xid8, oid];
