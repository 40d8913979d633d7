/**
 * Sends the users of a CSV file to the directory, batch after batch, and says what became of each row that is not in it.
 *
 * Holds no more of the file than one batch. A batch is sent again with the same request id until its answer is known, so
 * that no row makes two users.
 */
import { openCsv } from '../src/cli/csv-rules.js';
import { UnreadableFile } from '../src/cli/file-text.js';
import type { RowProblem } from '../src/cli/user-columns.js';
import type { Column } from '../src/cli/user-header.js';
import { createRejectedCsv, readRecords, readText, rowsOf } from './csv.js';
import { CallError, type Directory } from './directory.js';
import { hasReason, isUnclear, newRequestId } from './save-user.js';

// 10,000 users through the gateway on two busy cores, three rounds: 3,800 to 7,800 rows a second with 100 in a batch, 7,600
// to 10,800 with 250, 10,600 to 14,000 with 500, 11,900 to 13,000 with 1000. An answer names about 30 bad rows, and for the
// next ones the batch is sent again: with many of them smaller ones cost less.
const batchRowsMax = 500;
const batchRowsMin = 50;
// A message has at most 4 MiB, and UTF-8 at most 3 bytes for a UTF-16 unit.
const batchLengthMax = 1_000_000;

const deadlineMs = 30_000;
const backoffMs = 250;
const backoffMsMax = 5_000;
// What no outage explains is a fault that waiting does not mend.
const faultsMax = 3;

/** Shown on the page; the file of rejected rows has all. */
const rejectedShownMax = 100;

// Browsers keep blobs on disk where they are large; texts they do not.
const partLengthMax = 1_000_000;

export interface ImportOptions {
  readonly delimiter: string;
  /** For a file without a byte order mark. */
  readonly encoding?: string | undefined;
  readonly columns: readonly Column[];
  /** What happens to a row whose email is another user's, in the directory or earlier in the file. */
  readonly onTaken: 'reject' | 'skip';
  /** Ends the import behind the batch that is on its way, so that what was created is known. */
  readonly signal: AbortSignal;
  onProgress(progress: ImportProgress): void;
}

/** Rows count from 1, without the header; lines of the file, too. */
export interface RejectedRow extends RowProblem {
  readonly row: number;
  readonly line: number;
}

export interface ImportProgress {
  readonly created: number;
  readonly skipped: number;
  readonly rejected: number;
  /** 0 to 1 of the file's bytes. */
  readonly share: number;
  /** Whether the server is away and the import waits for it. */
  readonly isWaiting: boolean;
}

export interface ImportReport extends ImportProgress {
  /** When the last user of this import was created; undefined if none was. */
  readonly newest: Date | undefined;
  /** Whether the file was gone through to its end. */
  readonly isWhole: boolean;
  /** What ended it before, for people; empty for a cancel. */
  readonly problem: string;
  /** The rows of which nobody knows whether they are in the directory: the answer was lost. */
  readonly unclear: { readonly from: number; readonly to: number } | undefined;
  /** The first of them. */
  readonly rejectedRows: readonly RejectedRow[];
  /** All of them as CSV, with what is wrong in front; undefined where there are none. */
  readonly rejectedFile: Blob | undefined;
}

interface NumberedRow {
  readonly row: number;
  readonly line: number;
  readonly original: string | readonly string[];
  readonly user?: object | undefined;
  readonly problem?: RowProblem | undefined;
}

/** Never rejects: whatever happens is in the report, because what was created by then stays. */
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
        // The batch was done, its answer lost, and one of its users deleted since.
        if (isRepeated && hasReason(error, 'USER_NOT_FOUND')) break;
        const mayMend = isUnclear(error) || hasReason(error, 'OVERLOADED');
        const isFault = error instanceof CallError && (error.code === 'INTERNAL' || error.code === 'UNKNOWN');
        if (isFault) faults++;
        if (isUnclear(error)) {
          isRepeated = true;
          unclear = { from: rows[0]?.row ?? 0, to: rows.at(-1)?.row ?? 0 };
        } else if (!mayMend) unclear = undefined;
        if (!mayMend || faults >= faultsMax) throw error;
        isWaiting = true;
        onProgress(progress());
        await pause(Math.min(backoffMsMax, backoffMs * 2 ** failures++), signal);
      }
    }
    isWaiting = false;
    unclear = undefined;
    counts.created += rows.length;
  }

  /** Whether all rows were good. Those that the server names are taken out, until the rest is in. */
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
        const rows = rowsOf(isHeader ? records.slice(1) : records, columns);
        isHeader = false;
        for (const each of rows) {
          batch.push({ ...each, row: ++row });
          for (const cell of each.original) length += cell.length;
          if (batch.length >= rowsMax || length >= batchLengthMax) await flush();
        }
      }
    } catch (error) {
      if (!(error instanceof UnreadableFile)) throw error;
      // The rows before that place are as good as any.
      unreadable = error;
    }
    await flush();
    if (unreadable !== undefined) throw unreadable;
  }

  /** It is UTF-8. A byte order mark says so, because the same choice of encoding would say something else. */
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

/** By the index in the batch. Only the first of a row's violations counts; 'skip' is an email that may be taken. */
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

/** Text that grows without filling the memory. */
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
