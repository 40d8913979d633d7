/** The list of migrations, in order. Add new migrations at the end, and never change a released one. */
import { CreateTables1795737600000 } from '../../migrations/1795737600000-create-tables.js';

export const migrations = [CreateTables1795737600000] as const;

/** Not TypeORM's default name, which another application in the same schema may use. */
export const migrationsTableName = 'roster_migrations';
