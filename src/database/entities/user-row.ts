/** The table `users`: one row for each user of the directory. */
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import type { JsonObject, User } from '../../model/user.js';

// Every text has the C collation, so that an upgrade of libc or ICU never reorders an index or a page.
@Entity('users')
// On email_key(email), which TypeORM cannot express.
@Index('users_email_key', { synchronize: false })
@Index('users_create_time_id', ['createTime', 'id'])
@Index('users_first_name_id', ['firstName', 'id'])
@Index('users_last_name_id', ['lastName', 'id'])
// On search_text(…). src/store/search-index.ts creates it if Postgres has pg_trgm.
@Index('users_search', { synchronize: false })
export class UserRow implements User {
  /** A UUID version 7, made by the service. */
  @PrimaryColumn({ type: 'uuid', primaryKeyConstraintName: 'users_pkey' })
  id!: string;

  @Column({ name: 'first_name', type: 'text', collation: 'C' })
  firstName!: string;

  /** Empty if the user has only one name. */
  @Column({ name: 'last_name', type: 'text', collation: 'C', default: '' })
  lastName!: string;

  /** As the client wrote it. `email_key(email)` is unique. */
  @Column({ type: 'text', collation: 'C' })
  email!: string;

  /** Empty if the user has no image. */
  @Column({ name: 'profile_image_url', type: 'text', collation: 'C', default: '' })
  profileImageUrl!: string;

  /** A JSON object with the client's own keys. */
  @Column({ type: 'jsonb', default: {} })
  attributes!: JsonObject;

  /** In milliseconds, like a JavaScript Date. */
  @Column({ name: 'create_time', type: 'timestamptz', precision: 3, default: () => 'now()' })
  createTime!: Date;

  /** The time of the last change. It never goes back. */
  @Column({ name: 'update_time', type: 'timestamptz', precision: 3, default: () => 'now()' })
  updateTime!: Date;

  /** 1 for a new user. Every change adds 1. */
  @Column({ type: 'integer', default: 1 })
  version!: number;
}
