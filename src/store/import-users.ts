/**
 * Bulk loading: stages rows in a temporary table on a separate connection, and merges them into the users with a few
 * statements over all rows.
 *
 * No other session sees staged rows, and they vanish with the connection. Only `merge` writes users, in one
 * transaction. Memory does not depend on the number of rows.
 */
import { randomBytes } from 'node:crypto';
import { finished } from 'node:stream/promises';
import { from as copyFrom } from 'pg-copy-streams';
import { fieldColumns, fieldColumnNames as written } from '../database/columns.js';
import { type Database, poolerSwitches, type Row } from '../database/database.js';
import { faultOf, isConnectionLost, isTableMissing, lostRace } from '../database/errors.js';
import { Fault } from '../model/fault.js';
import type { OnConflict } from '../model/import-request.js';
import type { UserInput } from '../model/user.js';
import { logChanges } from './changes.js';

export interface StagedRow {
  /** Ascending over all calls. */
  row: number;
  id: string;
  fields: UserInput;
}

/** The outcome for the staged rows; a preview returns the expected outcome. */
export interface MergeCounts {
  created: number;
  updated: number;
  skipped: number;
  /** Rows whose email belongs to another user or an earlier row; only if those are rejected. */
  taken: number;
  /** The first taken rows, in ascending order. */
  takenRows: readonly number[];
}

export interface Staging extends AsyncDisposable {
  /** Aborted with the caller's signal, and with a Fault as soon as the connection is lost. */
  readonly signal: AbortSignal;
  /** Resolves when more rows can be staged. */
  stage(rows: readonly StagedRow[]): Promise<void>;
  /** Returns what merge() would do, without writing. */
  preview(onConflict: OnConflict): Promise<MergeCounts>;
  /** Writes the users. With `allOrNothing`, writes none if a row is rejected. */
  merge(onConflict: OnConflict, allOrNothing: boolean): Promise<MergeCounts & { committed: boolean }>;
}

export interface StagingOptions {
  takenRowsMax: number;
  /** Called when users have been written, or may have been. */
  onWritten(): void;
}

// Rows are buffered here and sent to Postgres in one COPY, so that no COPY waits for the caller with its transaction
// open. One piece is sent while the next is buffered. Larger pieces are not faster.
const pieceCharactersMax = 512 * 1024;

// After losing this many races to other transactions, a merge would probably lose the next one too.
const racesMax = 4;
// After creating this many users, the merge runs ANALYZE. Autovacuum would do it within a minute or so, and until then
// the planner would use outdated statistics.
const analyzedRowsMin = 50_000;

/** A part of a statement for each writable column; `unset` is the SQL value of a field that a row does not set. */
function columnParts(part: (column: string, unset: string, type: string) => string, separator = ', '): string {
  return fieldColumns
    .map(({ name, type }) => {
      return part(name, type === 'jsonb' ? `'{}'` : `''`, type === 'text' ? 'text collate "C"' : type);
    })
    .join(separator);
}

// Each import replaces `staged_users` and `import_steps` with unique names. If a pooler is mistaken for one that keeps
// sessions, an import must not find another import's rows. The key is computed once, while the caller still sends, and
// in the C collation, like the index.
const createStagingStatement = `
  create temp table staged_users (
    row bigint not null,
    id uuid not null,
    ${columnParts((column, _, type) => `${column} ${type} not null`)},
    repeated boolean not null default false,
    key text collate "C" not null generated always as (email_key(email)) stored
  )`;

const copyTarget = `staged_users (row, id, ${written})`;
const copyStatement = `copy ${copyTarget} from stdin (format text, encoding 'UTF8')`;

// Not the attributes, because no condition uses them.
const analyzeStagingStatement = 'analyze staged_users (row, id, key, repeated)';

/**
 * The user that has a row's email. A lateral lookup for each row, because the planner does not know what email_key
 * costs.
 */
const holderOf = (rows: string, columns: string) =>
  `lateral (select ${columns} from users where email_key(users.email) = ${rows}.key limit 1) as holder`;

// In the order of the keys, like single creates, to avoid deadlocks with them. Of rows with the same key, the first is
// inserted.
const insertStatement = (onTaken: string) => `
  with inserted as (
    insert into users (id, ${written})
    select id, ${written} from staged_users order by key, row ${onTaken}
    returning id, create_time
  ), logged as (${logChanges('created', 'inserted')})
  select count(*)::integer from inserted`;

const insertFreeStatement = insertStatement('on conflict (email_key(email)) do nothing');

// Fails with the first taken email. It runs first if a taken email ends the import anyway: ON CONFLICT checks each
// email before and marks each row after the insert, which is an eighth of the merge.
const insertAllStatement = insertStatement('');

/** The statements of an import that only adds users, in order, for benchmarks without a service. */
export const addingStatements = {
  createStaging: createStagingStatement,
  /** For use in a COPY statement; the rows have these columns in this order. */
  copyTarget,
  insert: insertAllStatement,
};

const notInsertedStatement = `
  select row::integer from staged_users where not exists (select from users where users.id = staged_users.id)
  order by row limit $1`;

const takenStatement = `
  with taken as materialized (
    select row from (
      select row, key, row_number() over (partition by key order by row) > 1 as is_late from staged_users
    ) as numbered
    where is_late or exists (select from ${holderOf('numbered', 'id')})
  )
  select (select count(*)::integer from taken), array(select row::integer from taken order by row limit $1)`;

// The effect of each row on its user, if rows with the same key apply one after the other. A set field changes the user
// if the previous row that sets it has another value. If there is no such row, the user decides, and the field's value
// is kept here; otherwise it is null.
const createStepsStatement = (rows: 'all' | 'repeated') => `
  create temp table import_steps as
  select key, is_first,
    ${columnParts((column, unset) => `coalesce(${column} <> ${unset} and ${column}_before <> ${column}, false)`, ' or ')} as changes,
    ${columnParts((column, unset) => `case when ${column} <> ${unset} and ${column}_before is null then ${column} end as ${column}`)}
  from (
    select key, ${written}, row_number() over (partition by key order by row) = 1 as is_first,
      ${columnParts((column, unset) => `lag(${column}) over (partition by key, ${column} = ${unset} order by row) as ${column}_before`)}
    from staged_users
    ${rows === 'all' ? '' : 'where key in (select key from staged_users group by key having count(*) > 1)'}
  ) as numbered`;

const analyzeStepsStatement = 'analyze import_steps (key, is_first)';

const countStepsStatement = `
  select count(*) filter (where creates)::integer, count(*) filter (where not creates and changes)::integer
  from (
    select is_first and holder.id is null as creates,
      changes or ${columnParts((column) => `steps.${column} is not null and steps.${column} is distinct from holder.${column}`, ' or ')} as changes
    from import_steps as steps left join ${holderOf('steps', `id, ${written}`)} on true
  ) as judged`;

// Rows with the same key become one row, with the last set value of each field.
const joinRepeatedStatement = `
  with ends as (
    select key, min(row) as first, ${columnParts((column, unset) => `max(row) filter (where ${column} <> ${unset}) as ${column}_row`)}
    from staged_users where key in (select key from import_steps where is_first) group by key
  ), removed as (
    delete from staged_users using ends where staged_users.key = ends.key
  )
  insert into staged_users (row, id, ${written}, repeated)
  select first.row, first.id, ${columnParts((column) => `coalesce(last_${column}.${column}, first.${column})`)}, true
  from ends join staged_users as first on first.row = ends.first
    ${columnParts((column) => `left join staged_users as last_${column} on last_${column}.row = ends.${column}_row`, '\n    ')}`;

// In the order of ids, like updates.
const lockStatement = `
  with locked as (
    select from users where id in (select holder.id from staged_users cross join ${holderOf('staged_users', 'id')})
    order by id for update
  )
  select count(*)::integer from locked`;

const merged = (column: string, unset: string) => `coalesce(nullif(excluded.${column}, ${unset}), held.${column})`;

// Writes nothing if nothing changes. Version 1 marks a user that this statement created, because no other transaction
// can see it yet.
const upsertStatement = `
  with written as (
    insert into users as held (id, ${written})
    select id, ${written} from staged_users where repeated = $1 order by key
    on conflict (email_key(email)) do update set
      ${columnParts((column, unset) => `${column} = ${merged(column, unset)}`)},
      update_time = greatest(now()::timestamptz(3), held.update_time + interval '1 millisecond'),
      version = held.version + 1
    where (${columnParts(merged)}) is distinct from (${columnParts((column) => `held.${column}`)})
    returning id, create_time, update_time, version = 1 as is_new
  ), created as (
    select id, create_time from written where is_new
  ), updated as (
    select id, update_time from written where not is_new
  ), logged_created as (${logChanges('created', 'created')}
  ), logged_updated as (${logChanges('updated', 'updated')})
  select (select count(*)::integer from created), (select count(*)::integer from updated)`;

/** Opens a connection for one import. Throws the signal's reason after an abort, and Faults of the database. */
export async function openStaging(
  database: Database,
  { takenRowsMax, onWritten }: StagingOptions,
  callSignal: AbortSignal,
): Promise<Staging> {
  const session = await database.openSession(callSignal, { keepsState: true });
  const lost = new AbortController();
  session.client.once('error', (error) => lost.abort(faultOf(error)));
  const signal = AbortSignal.any([callSignal, lost.signal]);

  const importId = randomBytes(8).toString('hex');
  const named = (statement: string) => statement.replaceAll(/\b(?:staged_users|import_steps)\b/g, `$&_${importId}`);
  let text = '';
  let stagedCount = 0;
  // The current COPY. If it fails before it is awaited, the next await reports it.
  let copying: Promise<void> = Promise.resolve();
  let isPrepared = false;

  async function query(statement: string, values?: readonly unknown[]): Promise<Row> {
    const [row = []] = await queryRows(statement, values);
    return row;
  }

  async function queryRows(statement: string, values?: readonly unknown[]): Promise<Row[]> {
    try {
      return await session.query(named(statement), values);
    } catch (error) {
      throw await faultOfMissingTable(error);
    }
  }

  /**
   * If another server connection than the one with the staged rows answered, ends that connection, which drops the
   * rows.
   */
  async function faultOfMissingTable(error: unknown): Promise<unknown> {
    if (!isTableMissing(error)) return error;
    await session.query('rollback');
    await session.query('select pg_terminate_backend($1)', [session.backendPid]);
    return poolerSwitches();
  }

  async function copy(rows: string): Promise<void> {
    try {
      const stream = session.client.query(copyFrom(named(copyStatement)));
      stream.end(rows);
      await finished(stream);
    } catch (error) {
      signal.throwIfAborted();
      throw await faultOfMissingTable(faultOf(error));
    }
  }

  async function sendPiece(): Promise<void> {
    await copying;
    const piece = text;
    text = '';
    copying = copy(piece);
    copying.catch(() => {});
  }

  /** Prepares the staged rows, once, before users are read. */
  async function prepare(onConflict: OnConflict, rows: 'all' | 'repeated'): Promise<void> {
    if (isPrepared) throw new Error('An import can be merged only once.');
    isPrepared = true;
    if (text !== '') await sendPiece();
    await copying;
    // An insert-only merge sorts all rows, with or without statistics.
    if (onConflict !== 'update' && rows === 'repeated') return;
    await query(analyzeStagingStatement);
    if (onConflict !== 'update') return;
    await query(createStepsStatement(rows));
    await query(analyzeStepsStatement);
    if (rows === 'all') return;
    await query(joinRepeatedStatement);
  }

  /** With `allOrNothing`, throws EMAIL_TAKEN if a row cannot be inserted. */
  async function insert(onConflict: OnConflict, allOrNothing: boolean): Promise<MergeCounts> {
    const [created] = (await query(allOrNothing ? insertAllStatement : insertFreeStatement)) as [number];
    const left = stagedCount - created;
    if (onConflict === 'skip') return { created, updated: 0, skipped: left, taken: 0, takenRows: [] };
    const rows = left === 0 ? [] : await queryRows(notInsertedStatement, [takenRowsMax]);
    return { created, updated: 0, skipped: 0, taken: left, takenRows: rows.map(([row]) => row as number) };
  }

  /**
   * Returns undefined if another transaction created a user meanwhile, so that the counts of that user's rows are
   * unknown.
   */
  async function upsert(): Promise<MergeCounts | undefined> {
    await query(lockStatement);
    const [stepsCreated, stepsUpdated] = (await query(countStepsStatement)) as [number, number];
    const [repeatedCreated] = (await query(upsertStatement, [true])) as [number, number];
    if (repeatedCreated !== stepsCreated) return undefined;
    const [singleCreated, singleUpdated] = (await query(upsertStatement, [false])) as [number, number];
    return counted(stepsCreated + singleCreated, stepsUpdated + singleUpdated);
  }

  function counted(created: number, updated: number): MergeCounts {
    return { created, updated, skipped: stagedCount - created - updated, taken: 0, takenRows: [] };
  }

  async function commit(): Promise<void> {
    try {
      await query('commit');
    } catch (error) {
      const cause = error instanceof Fault ? error.cause : undefined;
      if (!isConnectionLost(cause)) throw error;
      const message = 'The connection was lost while the import was committed. Either all rows were written, or none.';
      throw new Fault('DATABASE_UNAVAILABLE', message, [], { cause });
    } finally {
      onWritten();
    }
  }

  /**
   * Returns undefined if the merge must be tried again: it lost a race, or the insert of all rows found a taken email.
   */
  async function attempt(onConflict: OnConflict, allOrNothing: boolean, isFirst: boolean) {
    const insertsAll = isFirst && allOrNothing && onConflict === 'reject';
    await query('begin');
    try {
      const counts = onConflict === 'update' ? await upsert() : await insert(onConflict, insertsAll);
      if (counts !== undefined && !(allOrNothing && counts.taken > 0)) {
        await commit();
        // The import is already committed, even if this fails.
        if (counts.created >= analyzedRowsMin) await query('analyze users').catch(() => {});
        return { ...counts, committed: true };
      }
      await query('rollback');
      return counts && { ...counts, committed: false };
    } catch (error) {
      const isTaken = insertsAll && error instanceof Fault && error.reason === 'EMAIL_TAKEN';
      if (!isTaken && !(error instanceof Fault && lostRace(error.cause))) throw error;
      await query('rollback');
      return undefined;
    }
  }

  try {
    // Overrides the settings of the server and the role: only the caller limits how long an import takes.
    await query('set statement_timeout = 0');
    await query('set idle_session_timeout = 0');
    await query(createStagingStatement);
  } catch (error) {
    await session[Symbol.asyncDispose]();
    throw error;
  }
  return {
    signal,

    async stage(rows) {
      for (const row of rows) {
        text += copyLine(row);
        stagedCount++;
        if (text.length >= pieceCharactersMax) await sendPiece();
      }
    },

    async preview(onConflict) {
      await prepare(onConflict, 'all');
      if (onConflict === 'update') {
        const [created, updated] = (await query(countStepsStatement)) as [number, number];
        return counted(created, updated);
      }
      const [taken, takenRows] = (await query(takenStatement, [takenRowsMax])) as [number, number[]];
      const created = stagedCount - taken;
      if (onConflict === 'skip') return { created, updated: 0, skipped: taken, taken: 0, takenRows: [] };
      return { created, updated: 0, skipped: 0, taken, takenRows };
    },

    async merge(onConflict, allOrNothing) {
      await prepare(onConflict, 'repeated');
      for (let races = 0; races <= racesMax; races++) {
        const outcome = await attempt(onConflict, allOrNothing, races === 0);
        if (outcome !== undefined) return outcome;
      }
      throw new Fault('DATABASE_UNAVAILABLE', 'Other calls write to the same users. Nothing was written. Try again.');
    },

    [Symbol.asyncDispose]: () => session[Symbol.asyncDispose](),
  };
}

/** A row in COPY's text format: https://www.postgresql.org/docs/18/sql-copy.html */
function copyLine({ row, id, fields }: StagedRow): string {
  let line = `${row}\t${id}`;
  for (const { property } of fieldColumns) line += `\t${copyText(fields[property])}`;
  return `${line}\n`;
}

function copyText(value: UserInput[keyof UserInput]): string {
  if (value === undefined) return '{}';
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /[\\\t\n\r]/.test(text) ? text.replaceAll(/[\\\t\n\r]/g, (character) => copyEscapes[character] ?? '') : text;
}

// All characters that COPY interprets, except U+0000, which the model rejects.
const copyEscapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };
