/** The table `api_keys`: Roster's own credentials for services without an issuer of tokens. */
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

@Entity('api_keys')
@Index('api_keys_name', ['name'], { unique: true, where: 'revoke_time is null' })
export class ApiKeyRow {
  /** The public part of the key. */
  @PrimaryColumn({ type: 'text', collation: 'C', primaryKeyConstraintName: 'api_keys_pkey' })
  id!: string;

  /** Unique among the keys that are not revoked. */
  @Column({ type: 'text' })
  name!: string;

  /** SHA-256 of the secret part, which has 256 random bits. */
  @Column({ type: 'bytea' })
  digest!: Buffer;

  @Column({ type: 'text', array: true })
  roles!: string[];

  @Column({ name: 'create_time', type: 'timestamptz', precision: 3, default: () => 'now()' })
  createTime!: Date;

  @Column({ name: 'expire_time', type: 'timestamptz', precision: 3, nullable: true })
  expireTime!: Date | null;

  @Column({ name: 'revoke_time', type: 'timestamptz', precision: 3, nullable: true })
  revokeTime!: Date | null;

  /** Up to a minute late. */
  @Column({ name: 'last_use_time', type: 'timestamptz', precision: 3, nullable: true })
  lastUseTime!: Date | null;
}
