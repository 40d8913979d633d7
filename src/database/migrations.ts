/** The list of migrations, in order. Add new migrations at the end, and never change a released one. */
import type { MigrationInterface } from 'typeorm';
import { CreateTables1795737600000 } from '../../migrations/1795737600000-create-tables.js';
import { FoldSearch1795780000000 } from '../../migrations/1795780000000-fold-search.js';
import { DropNameIndexes1795781000000 } from '../../migrations/1795781000000-drop-name-indexes.js';
import { AddTrust1795800000000 } from '../../migrations/1795800000000-add-trust.js';
import { AddTimelines1795850000000 } from '../../migrations/1795850000000-add-timelines.js';

/** The class of a migration. Its name ends in its number. */
export type Migration = new () => MigrationInterface;

export const migrations: readonly Migration[] = [
  CreateTables1795737600000,
  FoldSearch1795780000000,
  DropNameIndexes1795781000000,
  AddTrust1795800000000,
  AddTimelines1795850000000,
];

/** Not TypeORM's default name, which another application in the same schema may use. */
export const migrationsTableName = 'roster_migrations';
