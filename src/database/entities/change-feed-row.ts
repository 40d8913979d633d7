/** The table `change_feed`: its only row identifies the change log. Resume tokens are checked against it. */
import { Column, Entity, Index, PrimaryGeneratedColumn } from 'typeorm';
import { oid, xid8 } from './postgres-types.js';

@Entity('change_feed')
// An index on a constant, so that the table has at most one row. TypeORM cannot express it.
@Index('change_feed_is_one', { synchronize: false })
export class ChangeFeedRow {
  /** Changes if the database is restored from a dump or cloned, which makes old resume tokens invalid. */
  @PrimaryGeneratedColumn('uuid', { primaryKeyConstraintName: 'change_feed_pkey' })
  id!: string;

  /** The transaction that wrote this row. It differs from the hidden column xmin after a dump and restore. */
  @Column({ type: xid8, default: () => 'pg_current_xact_id()' })
  xid!: string;

  /** The oid of this database. A clone on the same server has a different one. */
  @Column({ name: 'database_oid', type: oid })
  databaseOid!: number;

  /** The newest transaction whose changes have been trimmed from the log. */
  @Column({ name: 'trimmed_xid', type: xid8, default: '0' })
  trimmedXid!: string;
}
