/** The list of migrations, in order. Add new migrations at the end, and never change a released one. */
import { CreateUsers1795305600000 } from '../../migrations/1795305600000-create-users.js';
import { CreateChanges1795392000000 } from '../../migrations/1795392000000-create-changes.js';
import { EmailKeyOfAscii1795396000000 } from '../../migrations/1795396000000-email-key-of-ascii.js';
import { IndexLists1795402800000 } from '../../migrations/1795402800000-index-lists.js';
import { EmailKeyFoldsCase1795410000000 } from '../../migrations/1795410000000-email-key-folds-case.js';

export const migrations = [
  CreateUsers1795305600000,
  CreateChanges1795392000000,
  EmailKeyOfAscii1795396000000,
  IndexLists1795402800000,
  EmailKeyFoldsCase1795410000000,
] as const;

/** Not TypeORM's default name, which another application in the same schema may use. */
export const migrationsTableName = 'roster_migrations';
