/**
 * Imports the users of a CSV file in batches, and reports each row that was not created. Keeps only one batch of the
 * file in memory.
 */
import type { RowProblem } from '../src/user-files/columns.js';
import { openCsv, readRecords } from '../src/user-files/csv.js';
import { UnreadableFile } from '../src/user-files/file-text.js';
import type { Column } from '../src/user-files/header.js';
import { createBlobWriter } from './blob-writer.js';
import { createRejectedCsv, fileRowsOf, readText } from './csv.js';
import type { Directory } from './directory.js';
import { type BatchRow, BatchSender, type BatchState, type OnTaken } from './import-batch.js';

// Throughput by batch size is in docs/benchmarks.md. A response lists about 30 invalid rows, and the batch is sent
// again to find more, so smaller batches are faster if many rows are invalid.
const batchRowsMax = 500;
const batchRowsMin = 50;
// In UTF-16 units, each of at most 3 bytes in UTF-8. A message has at most 4 MiB.
const batchLengthMax = 1_000_000;

/** The page shows only this many. The file of rejected rows has all. */
const rejectedShownMax = 100;

export interface ImportOptions {
  readonly delimiter: string;
  /** For a file without a byte order mark. */
  readonly encoding?: string | undefined;
  readonly columns: readonly Column[];
  readonly onTaken: OnTaken;
  /** Ends the import after the current batch, so that it is known which users were created. */
  readonly signal: AbortSignal;
  onProgress(progress: ImportProgress): void;
}

/** Rows and lines are counted from 1. The header is not counted as a row. */
export interface RejectedRow extends RowProblem {
  readonly row: number;
  readonly line: number;
}

export interface ImportProgress extends BatchState {
  /** The share of the file's bytes that was read, from 0 to 1. */
  readonly share: number;
}

export interface ImportReport extends ImportProgress {
  /** Whether the file was processed to its end. */
  readonly isWhole: boolean;
  /** The error that ended the import early, for users; empty if the user stopped it. */
  readonly problem: string;
  /** The first rejected rows. */
  readonly rejectedRows: readonly RejectedRow[];
  /** All rejected rows as CSV, with the problem in the first columns; undefined if no row was rejected. */
  readonly rejectedFile: Blob | undefined;
}

/** Never rejects. The report contains the error, because users created before it stay in the directory. */
export async function importUsers(directory: Directory, file: Blob, options: ImportOptions): Promise<ImportReport> {
  const { delimiter, encoding, columns, onTaken, signal } = options;
  const rejectedRows: RejectedRow[] = [];
  const rejectedCsv = createRejectedCsv(
    columns.map(({ name }) => name),
    delimiter,
  );
  const rejectedFile = createBlobWriter('text/csv', rejectedCsv.header);
  let share = file.size === 0 ? 1 : 0;
  const decoded = readText(file, {
    encoding,
    onBytes: (bytes) => {
      share = bytes / file.size;
    },
  });
  const sender = new BatchSender({
    directory,
    onTaken,
    signal,
    onChange: () => options.onProgress({ ...sender.state, share }),
    onRejected({ row, line, original }, problem) {
      if (rejectedRows.length < rejectedShownMax) rejectedRows.push({ ...problem, row, line });
      rejectedFile.write(rejectedCsv.format([original].flat(), problem));
    },
  });

  let isWhole = false;
  let problem = '';
  try {
    await sendAll(decoded.text, options, (batch) => sender.send(batch));
    isWhole = true;
  } catch (error) {
    if (!signal.aborted) problem = error instanceof Error ? error.message : 'Something unexpected went wrong.';
  }
  // The byte order mark identifies UTF-8, even if the user chooses the original file's encoding to import this file.
  const mark = decoded.isPlainUtf8() ? '' : '\ufeff';
  return {
    ...sender.state,
    share,
    isWaiting: false,
    isWhole,
    problem,
    rejectedRows,
    rejectedFile: sender.state.rejected > 0 ? new Blob([mark, rejectedFile.blob()], { type: 'text/csv' }) : undefined,
  };
}

/** Reads the file's rows and sends them in batches. `send` returns whether the server accepted all rows. */
async function sendAll(
  text: AsyncIterable<string>,
  { delimiter, columns }: ImportOptions,
  send: (batch: readonly BatchRow[]) => Promise<boolean>,
): Promise<void> {
  let rowsMax = batchRowsMax;
  let batch: BatchRow[] = [];
  let length = 0;
  let row = 0;
  let isHeader = true;
  const flush = async () => {
    if (batch.length === 0) return;
    const isAccepted = await send(batch);
    rowsMax = isAccepted ? Math.min(batchRowsMax, rowsMax * 2) : Math.max(batchRowsMin, rowsMax / 2);
    batch = [];
    length = 0;
  };
  let unreadable: UnreadableFile | undefined;
  try {
    for await (const records of readRecords(await openCsv(text, delimiter))) {
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
    // Send the rows before the error first.
    unreadable = error;
  }
  await flush();
  if (unreadable !== undefined) throw unreadable;
}
