/** The table `directory`: its only row identifies the directory. */
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';

@Entity('directory')
// An index on a constant, so that the table has at most one row. TypeORM cannot express it.
@Index('directory_is_one', { synchronize: false })
export class DirectoryRow {
  /** The same in all processes on this database, and after a dump and restore. */
  @PrimaryColumn({ type: 'uuid', primaryKeyConstraintName: 'directory_pkey' })
  id!: string;

  /** 32 random bytes. The keys for page tokens and for digests of requests are derived from it. */
  @Column({ type: 'bytea' })
  secret!: Buffer;
}
