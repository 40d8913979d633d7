/** The table `timelines`: the timelines of Postgres that the directory has been on. Rows never change. */
import { Column, Entity, Generated, PrimaryColumn } from 'typeorm';
import { pgLsn } from './postgres-types.js';

@Entity('timelines')
export class TimelineRow {
  /** 1, 2, 3, … in the order in which Roster noticed the timelines. */
  @PrimaryColumn('integer', { primaryKeyConstraintName: 'timelines_pkey' })
  seq!: number;

  /** Resume tokens contain it, because two servers may have different timelines with the same number. */
  @Column('uuid')
  @Generated('uuid')
  id!: string;

  /** Postgres' number of the timeline. A promotion increases it, and pg_upgrade sets it to 1. */
  @Column('bigint')
  timeline!: string;

  /** Where this timeline left the one of the previous row. Null if that is unknown. */
  @Column({ name: 'fork_lsn', type: pgLsn, nullable: true })
  forkLsn!: string | null;

  @Column({ name: 'notice_time', type: 'timestamptz', precision: 3, default: () => 'now()' })
  noticeTime!: Date;
}
