/**
 * Imports any number of users from a stream, all of them at its end.
 *
 * It commits no user before the stream has ended properly. Its memory does not depend on the number of rows.
 */
import { settlesWithin } from '../concurrency/abort.js';
import { createPause } from '../concurrency/event-loop.js';
import type { Database } from '../database/database.js';
import type { ChangeAuthor } from '../model/change-author.js';
import { emailTakenText, Fault, invalid } from '../model/fault.js';
import {
  type ImportError,
  type ImportOptions,
  type ImportPart,
  type ImportReport,
  importErrorsMax,
} from '../model/import-request.js';
import { attributesBytesMax, validateAttributes, validateUser } from '../model/user.js';
import { openStaging, type Staging } from '../store/import-users.js';
import type { StagedRow } from '../store/staged-rows.js';
import type { Metrics } from '../telemetry/metrics.js';
import { createRowIds } from './user-ids.js';

export interface ImportLimits {
  /** The import fails if it waits for the client for this long. */
  stallTimeoutMs: number;
  /** Called when users have been written, or may have been. */
  onWritten(): void;
  metrics?: Pick<Metrics, 'imported'>;
}

/** Throws IMPORT_INCOMPLETE, INVALID_FIELD, DATABASE_UNAVAILABLE, and DEADLINE_PASSED if the client stalls. */
export async function importUsers(
  database: Database,
  { stallTimeoutMs, onWritten, metrics }: ImportLimits,
  parts: AsyncIterable<ImportPart>,
  signal: AbortSignal,
  author?: ChangeAuthor,
): Promise<ImportReport> {
  await using staging = await openStaging(database, { takenRowsMax: importErrorsMax, author, onWritten }, signal);
  const { options, ...staged } = await stageAll(staging, parts, stallTimeoutMs);
  const { onConflict, keepGoing, validateOnly, mergeAttributes } = options;
  const { refused, refusedRows } =
    mergeAttributes && onConflict === 'update'
      ? await staging.mergeAttributes(isValidAttributes, attributesBytesMax)
      : { refused: 0, refusedRows: [] };
  const rejected = staged.rejected + refused;
  const isRefused = rejected > 0 && !keepGoing;
  const { taken, takenRows, ...counts } =
    validateOnly || isRefused
      ? { ...(await staging.preview(onConflict)), committed: false }
      : await staging.merge(onConflict, !keepGoing);
  const takenErrors = takenRows.map(
    (row): ImportError => ({ row, field: 'email', reason: 'EMAIL_TAKEN', message: emailTakenText }),
  );
  metrics?.imported('rejected', rejected + taken);
  if (counts.committed)
    for (const outcome of ['created', 'updated', 'skipped'] as const) metrics?.imported(outcome, counts[outcome]);
  return {
    ...counts,
    rejected: rejected + taken,
    errors: [...staged.errors, ...refusedRows.map(attributesError), ...takenErrors]
      .sort((a, b) => a.row - b.row)
      .slice(0, importErrorsMax),
  };
}

const isValidAttributes = (attributes: unknown) => validateAttributes(attributes) === undefined;

function attributesError(row: number): ImportError {
  const message = `must have at most ${attributesBytesMax} bytes as compact JSON, together with the user's other attributes`;
  return { row, field: 'attributes', reason: 'INVALID_FIELD', message };
}

// Postgres waits for the process several times for each piece of rows, so the pauses are short.
const workMs = 2;

/** Validates and stages all rows until the stream ends properly. */
async function stageAll(
  staging: Staging,
  parts: AsyncIterable<ImportPart>,
  stallTimeoutMs: number,
): Promise<{ options: ImportOptions; rejected: number; errors: ImportError[] }> {
  let options: ImportOptions | undefined;
  let rowCount = 0;
  let totalRows: number | undefined;
  let rejected = 0;
  const errors: ImportError[] = [];
  const idOf = createRowIds();
  const pause = createPause(workMs);
  for await (const part of unlessStalled(parts, stallTimeoutMs, staging.signal)) {
    if (options === undefined && part.options !== undefined) {
      options = part.options;
      if (options.onConflict === 'reject' && !options.keepGoing && !options.validateOnly) staging.writeDirectly();
    }
    totalRows = part.totalRows;
    const rows: StagedRow[] = [];
    for (const fields of part.users) {
      const paused = pause();
      if (paused !== undefined) await paused;
      const row = rowCount++;
      const violation = validateUser(fields);
      if (violation === undefined) {
        rows.push({ row, id: idOf(row), fields });
        continue;
      }
      if (rejected++ === 0) await staging.stageInstead();
      if (errors.length >= importErrorsMax) continue;
      errors.push({ row, field: violation.field, reason: 'INVALID_FIELD', message: violation.description });
    }
    await staging.stage(rows);
  }
  if (options === undefined || totalRows !== rowCount) {
    const description = `must be in the last message, and equal the number of users in the stream (${rowCount} arrived)`;
    throw invalid([{ field: 'total_rows', description }], 'IMPORT_INCOMPLETE');
  }
  return { options, rejected, errors };
}

/** Passes the parts through. Throws if the signal aborts, or if the client sends no part for too long. */
async function* unlessStalled<T>(
  parts: AsyncIterable<T>,
  stallTimeoutMs: number,
  signal: AbortSignal,
): AsyncGenerator<T, void, undefined> {
  const iterator = parts[Symbol.asyncIterator]();
  let isOver = false;
  try {
    while (true) {
      signal.throwIfAborted();
      const next = iterator.next();
      if (!(await settlesWithin(next, stallTimeoutMs, signal))) {
        throw new Fault(
          'DEADLINE_PASSED',
          'The client sent nothing for too long, so nothing was written. Send empty messages while no users are ready.',
        );
      }
      const result = await next;
      isOver = result.done === true;
      if (result.done) return;
      yield result.value;
    }
  } finally {
    // Not awaited, because it settles only after the client sends its next message.
    if (!isOver) iterator.return?.().catch(() => {});
  }
}
