/**
 * The entities: TypeORM's view of the tables. Only the migrations create tables.
 *
 * Types are written out because neither esbuild nor oxc emits decorator metadata.
 */
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import type { JsonObject, User } from '../model/user.js';

@Entity('users')
// On email_key(email), which TypeORM cannot express.
@Index('users_email_key', { synchronize: false })
@Index('users_create_time_id', ['createTime', 'id'])
@Index('users_first_name_id', ['firstName', 'id'])
@Index('users_last_name_id', ['lastName', 'id'])
// On search_text(…). search-index.ts creates it if Postgres has pg_trgm.
@Index('users_search', { synchronize: false })
export class UserRow implements User {
  @PrimaryColumn({ type: 'uuid', primaryKeyConstraintName: 'users_pkey' })
  id!: string;

  @Column({ name: 'first_name', type: 'text', collation: 'C' })
  firstName!: string;

  @Column({ name: 'last_name', type: 'text', collation: 'C', default: '' })
  lastName!: string;

  @Column({ type: 'text', collation: 'C' })
  email!: string;

  @Column({ name: 'profile_image_url', type: 'text', collation: 'C', default: '' })
  profileImageUrl!: string;

  @Column({ type: 'jsonb', default: {} })
  attributes!: JsonObject;

  @Column({ name: 'create_time', type: 'timestamptz', precision: 3, default: () => 'now()' })
  createTime!: Date;

  @Column({ name: 'update_time', type: 'timestamptz', precision: 3, default: () => 'now()' })
  updateTime!: Date;

  @Column({ type: 'integer', default: 1 })
  version!: number;
}

/** A request id that created users, kept for 24 hours. Its digest is keyed, so that it reveals nothing about them. */
@Entity('request_ids')
@Index('request_ids_create_time', ['createTime'])
export class RequestIdRow {
  @PrimaryColumn({ name: 'request_id', type: 'uuid', primaryKeyConstraintName: 'request_ids_pkey' })
  requestId!: string;

  @Column({ type: 'bytea' })
  digest!: Buffer;

  @Column({ name: 'user_ids', type: 'uuid', array: true })
  userIds!: string[];

  @Column({ name: 'create_time', type: 'timestamptz', precision: 3, default: () => 'now()' })
  createTime!: Date;
}

/** The only row identifies the directory and holds the secret that encrypts its page tokens. */
@Entity('directory')
export class DirectoryRow {
  @PrimaryColumn({ type: 'uuid', primaryKeyConstraintName: 'directory_pkey' })
  id!: string;

  @Column({ type: 'bytea' })
  secret!: Buffer;
}
