/**
 * The table `changes`: the change log, one row for each change of a user, without the user's data. src/store/changes.ts
 * writes it, and src/store/read-changes.ts reads it in windows between two snapshots.
 */
import { Check, Column, Entity, Index, PrimaryGeneratedColumn } from 'typeorm';
import { xid8 } from './postgres-types.js';

@Entity('changes')
@Index('changes_xid', ['xid'])
@Index('changes_user_id', ['userId', 'seq'])
@Check('changes_type', 'type in (2, 3, 4)')
export class ChangeRow {
  /** Ascending for the changes of one user, but not in the order of commits. */
  @PrimaryGeneratedColumn('identity', {
    type: 'bigint',
    generatedIdentity: 'ALWAYS',
    primaryKeyConstraintName: 'changes_pkey',
  })
  seq!: string;

  /** The transaction that made the change. */
  @Column({ type: xid8, default: () => 'pg_current_xact_id()' })
  xid!: string;

  /** Not a foreign key, because a deletion is a change too. */
  @Column({ name: 'user_id', type: 'uuid' })
  userId!: string;

  /** The number of the type in users.v1.UserChange: 2 created, 3 updated, 4 deleted. */
  @Column({ type: 'smallint' })
  type!: number;

  @Column({ name: 'change_time', type: 'timestamptz', precision: 3, default: () => 'now()' })
  changeTime!: Date;

  /** Who made the change (`Caller.actor`). Null if the server did not know the caller. */
  @Column({ type: 'text', nullable: true })
  actor!: string | null;

  /** The x-request-id of the call that made the change. */
  @Column({ name: 'request_id', type: 'text', nullable: true })
  requestId!: string | null;
}
