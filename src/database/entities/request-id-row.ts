/** The table `request_ids`: the request ids of calls that created users, kept for 24 hours. */
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

@Entity('request_ids')
@Index('request_ids_create_time', ['createTime'])
export class RequestIdRow {
  /** The request_id that the client chose. */
  @PrimaryColumn({ name: 'request_id', type: 'uuid', primaryKeyConstraintName: 'request_ids_pkey' })
  requestId!: string;

  /** A digest of the request. It is keyed, so that it reveals nothing about the users. */
  @Column({ type: 'bytea' })
  digest!: Buffer;

  /** The users that the call created. */
  @Column({ name: 'user_ids', type: 'uuid', array: true })
  userIds!: string[];

  @Column({ name: 'create_time', type: 'timestamptz', precision: 3, default: () => 'now()' })
  createTime!: Date;
}
