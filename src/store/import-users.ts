/**
 * Merges staged rows into the users with a few statements over all rows, or previews what a merge would do.
 *
 * Only `merge` commits users, in one transaction.
 */
import type { Row } from '../database/columns.js';
import type { Database } from '../database/database.js';
import { isConnectionLost, isEmailTaken, lostRace } from '../database/errors.js';
import { parseJson } from '../json.js';
import type { ChangeAuthor } from '../model/change-author.js';
import { Fault } from '../model/fault.js';
import type { OnConflict } from '../model/import-request.js';
import { oneAuthorValues } from './changes.js';
import { DirectRows, openMsMax } from './direct-rows.js';
import {
  type AttributesMode,
  analyzeStagedUsers,
  analyzeSteps,
  closeLargeUsers,
  countSteps,
  createMergedUsers,
  createRefusedUsers,
  createSteps,
  deleteRefusedRows,
  fetchLargeUsers,
  findLargeUsers,
  findRowsNotInserted,
  findTakenRows,
  insertStagedUsers,
  insertStagedUsersSkippingTaken,
  joinRepeatedRows,
  lockExistingUsers,
  refuseUsers,
  upsertStagedUsers,
} from './import-statements.js';
import { type StagedRow, StagedRows } from './staged-rows.js';

/** The outcome for the staged rows; a preview returns the expected outcome. */
export interface MergeCounts {
  created: number;
  updated: number;
  skipped: number;
  /** Rows whose email another user or an earlier row has. Zero unless such rows are rejected. */
  taken: number;
  /** The row numbers of the first of them, in ascending order. */
  takenRows: readonly number[];
}

export interface StagingOptions {
  takenRowsMax: number;
  author?: ChangeAuthor;
  /** Called when users have been written, or may have been. */
  onWritten(): void;
}

// After losing this many races to other transactions, a merge would probably lose the next one too.
const racesMax = 4;
// After creating this many users, the merge runs ANALYZE. Autovacuum would do it within a minute or so, and until then
// the planner would use outdated statistics.
const analyzedRowsMin = 50_000;

/** Opens a connection for one import. Throws the signal's reason after an abort, and Faults of the database. */
export async function openStaging(database: Database, options: StagingOptions, signal: AbortSignal): Promise<Staging> {
  return new Staging(await StagedRows.open(database, signal), options);
}

export class Staging implements AsyncDisposable {
  private isPrepared = false;
  private attributesMode: AttributesMode = 'replace';
  // Undefined if the rows are staged.
  private direct: DirectRows | undefined;

  constructor(
    private readonly rows: StagedRows,
    private readonly options: StagingOptions,
  ) {}

  /** Aborted with the caller's signal, and with a Fault as soon as the connection is lost. */
  get signal(): AbortSignal {
    return this.rows.signal;
  }

  /**
   * Writes the rows to the users while they arrive, instead of staging them. Call it before the first row, and only for
   * an import that creates all of its rows or none.
   */
  writeDirectly(openMs = openMsMax): void {
    this.direct = new DirectRows(this.rows, openMs, this.options.author);
  }

  /** Stages the rows that have been written directly, and all later ones. Call it before a row is left out. */
  async stageInstead(): Promise<void> {
    const pieces = await this.direct?.takeBack();
    this.direct = undefined;
    if (pieces !== undefined) await this.rows.addPieces(pieces);
  }

  /** Resolves when more rows can be staged. */
  async stage(rows: readonly StagedRow[]): Promise<void> {
    if (this.direct === undefined) await this.rows.add(rows);
    else if (!(await this.direct.add(rows))) await this.stageInstead();
  }

  /**
   * Adds the attributes of rows to those of the users, instead of replacing them. Call it after the last row, for an import
   * that updates users. Leaves out the rows that set attributes of users whose attributes `isValid` would refuse. Returns
   * their number, and the first of them.
   *
   * Another call may add attributes to a user between this check and the merge. Then the user has more bytes than allowed,
   * but at most twice as many.
   */
  async mergeAttributes(
    isValid: (attributes: unknown) => boolean,
    bytesMax: number,
  ): Promise<{ refused: number; refusedRows: readonly number[] }> {
    await this.stageInstead();
    await this.rows.flush();
    await this.rows.query(analyzeStagedUsers);
    await this.rows.query(createMergedUsers);
    this.attributesMode = 'merge';
    await this.rows.query(createRefusedUsers);
    await this.rows.query(findLargeUsers(bytesMax));
    while (true) {
      const found = (await this.rows.query(fetchLargeUsers)) as [key: string, merged: string | null][];
      if (found.length === 0) break;
      const invalid = found.filter(([, merged]) => merged === null || !isValid(parseJson(merged)));
      if (invalid.length > 0) await this.rows.query(refuseUsers, [invalid.map(([key]) => key)]);
    }
    await this.rows.query(closeLargeUsers);
    const removed = await this.rows.removeBy(deleteRefusedRows, [this.options.takenRowsMax]);
    return { refused: removed.count, refusedRows: removed.rows };
  }

  /** Returns what merge() would do, without writing. */
  async preview(onConflict: OnConflict): Promise<MergeCounts> {
    await this.prepare(onConflict, 'all');
    if (onConflict === 'update') {
      const [created, updated] = (await this.queryFirst(countSteps(this.attributesMode))) as [number, number];
      return this.counts({ created, updated });
    }
    const [taken, takenRows] = (await this.queryFirst(findTakenRows, [this.options.takenRowsMax])) as [
      number,
      number[],
    ];
    const created = this.rows.count - taken;
    return this.counts(onConflict === 'skip' ? { created } : { created, taken, takenRows });
  }

  /** Writes the users. With `allOrNothing`, writes none if a row is rejected. */
  async merge(onConflict: OnConflict, allOrNothing: boolean): Promise<MergeCounts & { committed: boolean }> {
    if (this.direct !== undefined && (await this.direct.finish())) {
      await this.commit(this.direct.count);
      return { created: this.direct.count, updated: 0, skipped: 0, taken: 0, takenRows: [], committed: true };
    }
    await this.prepare(onConflict, 'repeated');
    for (let races = 0; races <= racesMax; races++) {
      const outcome = await this.attempt(onConflict, allOrNothing, races === 0);
      if (outcome !== undefined) return outcome;
    }
    throw new Fault(
      'DATABASE_UNAVAILABLE',
      'Other calls are writing to the same users. Nothing was written. Try again.',
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.direct?.[Symbol.dispose]();
    return this.rows[Symbol.asyncDispose]();
  }

  /** Prepares the staged rows, once, before users are read. */
  private async prepare(onConflict: OnConflict, steps: 'all' | 'repeated'): Promise<void> {
    if (this.isPrepared) throw new Error('An import can be merged only once.');
    this.isPrepared = true;
    await this.stageInstead();
    await this.rows.flush();
    // An insert-only merge sorts all rows, with or without statistics.
    if (onConflict !== 'update' && steps === 'repeated') return;
    await this.rows.query(analyzeStagedUsers);
    if (onConflict !== 'update') return;
    await this.rows.query(createSteps(steps, this.attributesMode));
    await this.rows.query(analyzeSteps);
    if (steps === 'repeated') await this.rows.query(joinRepeatedRows(this.attributesMode));
  }

  /** Returns undefined if the merge must be tried again: it lost a race, or inserting all rows hit a taken email. */
  private async attempt(onConflict: OnConflict, allOrNothing: boolean, isFirst: boolean) {
    const insertsAll = isFirst && allOrNothing && onConflict === 'reject';
    await this.rows.query('begin');
    try {
      const counts = onConflict === 'update' ? await this.upsert() : await this.insert(onConflict, insertsAll);
      if (counts !== undefined && !(allOrNothing && counts.taken > 0)) {
        await this.commit(counts.created);
        return { ...counts, committed: true };
      }
      await this.rows.query('rollback');
      return counts && { ...counts, committed: false };
    } catch (error) {
      if (!(insertsAll && isEmailTaken(error)) && !(error instanceof Fault && lostRace(error.cause))) throw error;
      await this.rows.query('rollback');
      return undefined;
    }
  }

  /** With `insertsAll`, throws EMAIL_TAKEN if a row cannot be inserted. */
  private async insert(onConflict: OnConflict, insertsAll: boolean): Promise<MergeCounts> {
    const statement = insertsAll ? insertStagedUsers : insertStagedUsersSkippingTaken;
    const [created] = (await this.queryFirst(statement, oneAuthorValues(this.options.author))) as [number];
    const taken = this.rows.count - created;
    if (onConflict === 'skip' || taken === 0) return this.counts({ created });
    const rows = await this.rows.query(findRowsNotInserted, [this.options.takenRowsMax]);
    return this.counts({ created, taken, takenRows: rows.map(([row]) => row as number) });
  }

  /** Returns undefined if another transaction created a user meanwhile, because the counts are then unknown. */
  private async upsert(): Promise<MergeCounts | undefined> {
    await this.rows.query(lockExistingUsers);
    const counted = await this.queryFirst(countSteps(this.attributesMode));
    const [stepsCreated, stepsUpdated] = counted as [number, number];
    const upsert = upsertStagedUsers(this.attributesMode);
    const author = oneAuthorValues(this.options.author);
    const [repeatedCreated] = (await this.queryFirst(upsert, [true, ...author])) as [number, number];
    if (repeatedCreated !== stepsCreated) return undefined;
    const [singleCreated, singleUpdated] = (await this.queryFirst(upsert, [false, ...author])) as [number, number];
    return this.counts({ created: stepsCreated + singleCreated, updated: stepsUpdated + singleUpdated });
  }

  private async commit(created: number): Promise<void> {
    this.options.author?.onCommitting?.();
    try {
      await this.rows.query('commit');
    } catch (error) {
      const cause = error instanceof Fault ? error.cause : undefined;
      if (!isConnectionLost(cause)) throw error;
      const message = 'The connection was lost while the import was committed. Either all rows were written, or none.';
      throw new Fault('DATABASE_UNAVAILABLE', message, [], { cause });
    } finally {
      this.options.onWritten();
    }
    // The import is already committed, even if this fails.
    if (created >= analyzedRowsMin) await this.rows.query('analyze users').catch(() => {});
  }

  private async queryFirst(statement: string, values?: readonly unknown[]): Promise<Row> {
    const [row = []] = await this.rows.query(statement, values);
    return row;
  }

  /** Completes the counts: rows that are not counted are skipped. */
  private counts({
    created,
    updated = 0,
    taken = 0,
    takenRows = [],
  }: Pick<MergeCounts, 'created'> & Partial<MergeCounts>): MergeCounts {
    const skipped = this.rows.count - created - updated - taken;
    return { created, updated, skipped, taken, takenRows };
  }
}
