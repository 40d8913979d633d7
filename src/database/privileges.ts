/** Checks what the role may do in the database, so that the start fails with the GRANT that helps. */
import type { QueryRunner } from 'typeorm';
import { StandbyFault, sqlName, UnusableDatabaseError } from './connection.js';
import { migrationsTableName } from './migrations.js';

const apiKeysTable = 'api_keys';

/** The privileges that serving needs. docs/operations.md has the GRANTs. */
const needed: Readonly<Record<string, readonly string[]>> = {
  users: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  request_ids: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
  changes: ['SELECT', 'INSERT', 'DELETE'],
  change_feed: ['SELECT', 'UPDATE'],
  timelines: ['SELECT', 'INSERT'],
  directory: ['SELECT'],
  [apiKeysTable]: ['SELECT'],
  [migrationsTableName]: ['SELECT'],
};

const tables = Object.keys(needed);

interface Access {
  readonly role: string;
  readonly database: string;
  readonly schema: string;
  readonly may_create: boolean;
}

interface TableRow {
  readonly name: string;
  readonly owner: string;
  readonly is_owner: boolean;
  readonly privileges: readonly string[];
}

/** Throws UnusableDatabaseError if the role may not read the list of migrations. */
export async function checkMigrationsTable(runner: QueryRunner): Promise<void> {
  const table = (await readTables(runner)).find(({ name }) => name === migrationsTableName);
  if (table !== undefined && !table.privileges.includes('SELECT')) throw await missingPrivileges(runner, table.owner);
}

/**
 * Throws UnusableDatabaseError if the tables belong to another application, or if the role may not create tables in an
 * empty schema. Returns the error to throw if a migration is forbidden: some need no ownership.
 */
export async function checkMayMigrate(runner: QueryRunner, applied: number): Promise<UnusableDatabaseError> {
  const existing = await readTables(runner);
  const { role, database, schema, may_create } = await readAccess(runner);
  const own = existing.find(({ name }) => name !== migrationsTableName);
  if (applied === 0 && own !== undefined) {
    throw new UnusableDatabaseError(
      `The schema "${schema}" of the database "${database}" has a table "${own.name}" that Roster did not create. ` +
        'Use an empty database, or a schema of its own: ' +
        `CREATE SCHEMA roster AUTHORIZATION ${sqlName(role)}; ALTER ROLE ${sqlName(role)} IN DATABASE ` +
        `${sqlName(database)} SET search_path = roster.`,
    );
  }
  const owner = existing.find(({ is_owner }) => !is_owner)?.owner;
  if (owner !== undefined) {
    return new UnusableDatabaseError(
      `The database "${database}" needs migrations, but its tables belong to the role "${owner}" and not to "${role}". ` +
        `Run "roster migrate up" as "${owner}".`,
    );
  }
  const forbidden = new UnusableDatabaseError(
    `The role "${role}" may not create tables in the schema "${schema}" of the database "${database}". Allow it: ` +
      `GRANT USAGE, CREATE ON SCHEMA ${sqlName(schema)} TO ${sqlName(role)}. Or run "roster migrate up" as a role that may.`,
  );
  if (applied === 0 && !may_create) throw forbidden;
  return forbidden;
}

/**
 * Throws if the server accepts no writes, or if the role may not read and write all tables. Without `usesApiKeys`, it
 * does not need their table.
 */
export async function checkMayServe(runner: QueryRunner, usesApiKeys: boolean): Promise<void> {
  const [setting] = await runner.query('show transaction_read_only');
  if (setting.transaction_read_only === 'on') throw new StandbyFault(false);
  const lacking = (await readTables(runner)).find(
    ({ name, privileges }) =>
      (usesApiKeys || name !== apiKeysTable) && needed[name]?.some((privilege) => !privileges.includes(privilege)),
  );
  if (lacking !== undefined) throw await missingPrivileges(runner, lacking.owner);
}

async function missingPrivileges(runner: QueryRunner, owner: string): Promise<UnusableDatabaseError> {
  const { role, database, schema } = await readAccess(runner);
  const prefix = schema === 'public' ? '' : `${sqlName(schema)}.`;
  const written = tables.filter((name) => name !== migrationsTableName && name !== apiKeysTable);
  return new UnusableDatabaseError(
    `The role "${role}" may not use all of Roster's tables in the database "${database}". Run as their owner "${owner}": ` +
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ${written.map((name) => `${prefix}${name}`).join(', ')} TO ${sqlName(role)}; ` +
      // A server must not be able to create keys.
      `GRANT SELECT, UPDATE (last_use_time) ON ${prefix}${apiKeysTable} TO ${sqlName(role)}; ` +
      `GRANT SELECT ON ${prefix}${migrationsTableName} TO ${sqlName(role)}.`,
  );
}

async function readAccess(runner: QueryRunner): Promise<Access> {
  const [access]: Access[] = await runner.query(
    `select current_user as role, current_database() as database, current_schema() as schema,
       has_schema_privilege(current_schema(), 'CREATE') as may_create`,
  );
  if (access === undefined) throw new Error('The database returned no row.');
  return access;
}

/** The tables of Roster that exist in the schema where Roster creates them. */
function readTables(runner: QueryRunner): Promise<TableRow[]> {
  return runner.query(
    `select relname as name, pg_get_userbyid(relowner) as owner,
       pg_has_role(relowner, 'USAGE') as is_owner,
       array(select privilege from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE']) as privilege
         where has_table_privilege(oid, privilege)) as privileges
     from pg_class
     where relnamespace = (select oid from pg_namespace where nspname = current_schema())
       and relname = any($1) and relkind in ('r', 'p', 'v', 'm', 'f')
     order by array_position($1, relname::text)`,
    [tables],
  );
}
