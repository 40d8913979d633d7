/**
 * Sends the users of a CSV file to the server in batches, and reports each row that was not created.
 *
 * Holds only one batch of the file. Sends a batch with the same request id until it has an answer, so that no row
 * creates two users.
 */
import type { RowProblem } from '../src/user-files/columns.js';
import { openCsv } from '../src/user-files/csv-rules.js';
import { UnreadableFile } from '../src/user-files/file-text.js';
import type { Column } from '../src/user-files/header.js';
import { createRejectedCsv, fileRowsOf, readRecords, readText } from './csv.js';
import { CallError, type Directory } from './directory.js';
import { hasReason, isUnclear, newRequestId } from './save-user.js';

// Throughput by batch size is in docs/benchmarks.md. An answer names about 30 invalid rows, and the batch is sent again
// to find the next ones, so smaller batches are cheaper if there are many.
const batchRowsMax = 500;
const batchRowsMin = 50;
// In UTF-16 units, each of at most 3 bytes in UTF-8. A message has at most 4 MiB.
const batchLengthMax = 1_000_000;

const deadlineMs = 30_000;
const backoffMs = 250;
const backoffMsMax = 5_000;
// An error that is not an outage does not go away with time.
const faultsMax = 3;

/** The page shows only these; the file of rejected rows has all. */
const rejectedShownMax = 100;

// Browsers keep large blobs on disk, but strings in memory.
const partLengthMax = 1_000_000;

export interface ImportOptions {
  readonly delimiter: string;
  /** For a file without a byte order mark. */
  readonly encoding?: string | undefined;
  readonly columns: readonly Column[];
  /** How to treat a row whose email is taken, in the directory or earlier in the file. */
  readonly onTaken: 'reject' | 'skip';
  /** Ends the import after the current batch, so that it is known which users were created. */
  readonly signal: AbortSignal;
  onProgress(progress: ImportProgress): void;
}

/** Rows and lines count from 1; rows without the header. */
export interface RejectedRow extends RowProblem {
  readonly row: number;
  readonly line: number;
}

export interface ImportProgress {
  readonly created: number;
  readonly skipped: number;
  readonly rejected: number;
  /** The share of the file's bytes that was read, from 0 to 1. */
  readonly share: number;
  /** Whether the import waits for an unavailable server. */
  readonly isWaiting: boolean;
}

export interface ImportReport extends ImportProgress {
  /** When the last user of this import was created; undefined without users. */
  readonly newest: Date | undefined;
  /** Whether the file was processed to its end. */
  readonly isWhole: boolean;
  /** The error that ended the import early, for users; empty if the user stopped it. */
  readonly problem: string;
  /** The rows that may or may not be in the directory, because the answer was lost. */
  readonly unclear: { readonly from: number; readonly to: number } | undefined;
  /** The first rejected rows. */
  readonly rejectedRows: readonly RejectedRow[];
  /** All rejected rows as CSV, with the problem in the first columns; undefined if no row was rejected. */
  readonly rejectedFile: Blob | undefined;
}

interface NumberedRow {
  readonly row: number;
  readonly line: number;
  readonly original: string | readonly string[];
  readonly user?: object | undefined;
  readonly problem?: RowProblem | undefined;
}

/** Never rejects: the report contains the error, because users created before it stay. */
export async function importUsers(directory: Directory, file: Blob, options: ImportOptions): Promise<ImportReport> {
  const { delimiter, encoding, columns, onTaken, signal, onProgress } = options;
  const counts = { created: 0, skipped: 0, rejected: 0 };
  const rejectedRows: RejectedRow[] = [];
  const rejectedCsv = createRejectedCsv(
    columns.map(({ name }) => name),
    delimiter,
  );
  let bytesRead = 0;
  const decoded = readText(file, {
    encoding,
    onBytes: (bytes) => {
      bytesRead = bytes;
    },
  });
  const rejectedFile = createFile(rejectedCsv.header);
  let isWaiting = false;
  let unclear: ImportReport['unclear'];
  let newest: Date | undefined;

  const progress = (): ImportProgress => ({ ...counts, share: file.size === 0 ? 1 : bytesRead / file.size, isWaiting });

  async function create(rows: readonly NumberedRow[]): Promise<void> {
    const requestId = newRequestId();
    let isRepeated = false;
    for (let failures = 0, faults = 0; ; ) {
      signal.throwIfAborted();
      try {
        const request = { users: rows.map(({ user }) => user ?? {}), requestId };
        const { users } = await directory.batchCreateUsers(request, { deadlineMs });
        newest = users.at(-1)?.createTime ?? newest;
        break;
      } catch (error) {
        // The batch succeeded, its answer was lost, and one of its users was deleted since then.
        if (isRepeated && hasReason(error, 'USER_NOT_FOUND')) break;
        const canRetry = isUnclear(error) || hasReason(error, 'OVERLOADED');
        const isFault = error instanceof CallError && (error.code === 'INTERNAL' || error.code === 'UNKNOWN');
        if (isFault) faults++;
        if (isUnclear(error)) {
          isRepeated = true;
          unclear = { from: rows[0]?.row ?? 0, to: rows.at(-1)?.row ?? 0 };
        } else if (!canRetry) unclear = undefined;
        if (!canRetry || faults >= faultsMax) throw error;
        isWaiting = true;
        onProgress(progress());
        await pause(Math.min(backoffMsMax, backoffMs * 2 ** failures++), signal);
      }
    }
    isWaiting = false;
    unclear = undefined;
    counts.created += rows.length;
  }

  /** Removes the rows that the server rejects until the rest is created. Returns whether no row was rejected. */
  async function send(batch: readonly NumberedRow[]): Promise<boolean> {
    const rejected = new Map(batch.flatMap((row) => (row.problem === undefined ? [] : [[row, row.problem] as const])));
    let good = batch.filter(({ problem }) => problem === undefined);
    let isClean = true;
    try {
      while (good.length > 0) {
        try {
          await create(good);
          break;
        } catch (error) {
          const problems = problemsOf(error, onTaken);
          if (problems.size === 0) throw error;
          isClean = false;
          isWaiting = false;
          good = good.filter((row, index) => {
            const problem = problems.get(index);
            if (problem === 'skip') counts.skipped++;
            else if (problem !== undefined) rejected.set(row, problem);
            return problem === undefined;
          });
        }
      }
    } finally {
      for (const row of batch) {
        const problem = rejected.get(row);
        if (problem === undefined) continue;
        counts.rejected++;
        if (rejectedRows.length < rejectedShownMax) rejectedRows.push({ ...problem, row: row.row, line: row.line });
        rejectedFile.write(rejectedCsv.format([row.original].flat(), problem));
      }
      onProgress(progress());
    }
    return isClean;
  }

  async function sendAll(): Promise<void> {
    let rowsMax = batchRowsMax;
    let batch: NumberedRow[] = [];
    let length = 0;
    let row = 0;
    let isHeader = true;
    const flush = async () => {
      if (batch.length === 0) return;
      const isClean = await send(batch);
      rowsMax = isClean ? Math.min(batchRowsMax, rowsMax * 2) : Math.max(batchRowsMin, rowsMax / 2);
      batch = [];
      length = 0;
    };
    let unreadable: UnreadableFile | undefined;
    try {
      for await (const records of readRecords(await openCsv(decoded.text, delimiter))) {
        const rows = fileRowsOf(isHeader ? records.slice(1) : records, columns);
        isHeader = false;
        for (const fileRow of rows) {
          batch.push({ ...fileRow, row: ++row });
          for (const cell of fileRow.original) length += cell.length;
          if (batch.length >= rowsMax || length >= batchLengthMax) await flush();
        }
      }
    } catch (error) {
      if (!(error instanceof UnreadableFile)) throw error;
      // The rows before it are valid.
      unreadable = error;
    }
    await flush();
    if (unreadable !== undefined) throw unreadable;
  }

  /** A byte order mark says that it is UTF-8, because an import of it may choose the original file's encoding again. */
  function rejectedBlob(): Blob {
    const mark = decoded.isPlainUtf8() ? '' : '\ufeff';
    return new Blob([mark, rejectedFile.blob()], { type: 'text/csv' });
  }

  let isWhole = false;
  let problem = '';
  try {
    await sendAll();
    isWhole = true;
  } catch (error) {
    if (!signal.aborted) problem = error instanceof Error ? error.message : 'Something unexpected went wrong.';
  }
  return {
    ...progress(),
    isWaiting: false,
    newest,
    isWhole,
    problem,
    unclear,
    rejectedRows,
    rejectedFile: counts.rejected > 0 ? rejectedBlob() : undefined,
  };
}

/**
 * By the index in the batch. Only a row's first violation counts. 'skip' is a taken email that the user wants to skip.
 */
function problemsOf(error: unknown, onTaken: ImportOptions['onTaken']): Map<number, RowProblem | 'skip'> {
  const problems = new Map<number, RowProblem | 'skip'>();
  if (!(error instanceof CallError)) return problems;
  for (const { field: path, description: message } of error.violations) {
    const [, index, field = ''] = /^users\[(\d+)\](?:\.(.*))?$/s.exec(path) ?? [];
    if (index === undefined || problems.has(Number(index))) continue;
    const isSkipped = error.reason === 'EMAIL_TAKEN' && onTaken === 'skip';
    problems.set(Number(index), isSkipped ? 'skip' : { field, reason: error.reason, message });
  }
  return problems;
}

async function pause(waitMs: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, waitMs);
    signal.addEventListener('abort', end);
  });
  signal.throwIfAborted();
}

/** A growing text that the browser can keep on disk. */
export function createFile(header = '') {
  const parts: Blob[] = [];
  let text = header;
  const flush = () => {
    parts.push(new Blob([text]));
    text = '';
  };
  return {
    write(more: string): void {
      text += more;
      if (text.length >= partLengthMax) flush();
    },
    blob(): Blob {
      flush();
      return new Blob(parts, { type: 'text/csv' });
    },
  };
}
