/**
 * Imports the users of a CSV file in batches, and reports each row that was not written. Keeps one batch of the file in
 * memory, and the first rejected rows, so that the user can correct them.
 */
import type { Row, RowProblem } from '../src/user-files/columns.js';
import { openCsv, readRecords } from '../src/user-files/csv.js';
import { type DecodedText, UnreadableFile } from '../src/user-files/file-text.js';
import type { Column } from '../src/user-files/header.js';
import { createBlobWriter } from './blob-writer.js';
import { createRejectedCsv, fileRowsOf, readText } from './csv.js';
import type { Directory } from './directory.js';
import { type BatchRow, BatchSender, type BatchState } from './import-batch.js';
import type { OnTaken } from './import-messages.js';
import { explainProblems } from './import-problems.js';

// Throughput by batch size is in docs/benchmarks.md. A response lists about 30 invalid rows, and the batch is sent
// again to find more, so smaller batches are faster if many rows are invalid.
const batchRowsMax = 500;
const batchRowsMin = 50;
// In UTF-16 units, each of at most 3 bytes in UTF-8. A message has at most 4 MiB.
const batchLengthMax = 1_000_000;

/** The page shows these rows for correction. Further rejected rows are only in the file for download. */
const rejectedKeptMax = 100;

/** How to read a file. */
export interface ImportFile {
  readonly file: File;
  readonly delimiter: string;
  /** For a file without a byte order mark. */
  readonly encoding?: string | undefined;
  readonly columns: readonly Column[];
}

export interface ImportOptions {
  readonly onTaken: OnTaken;
  /** Ends the import after the current batch, so that it is known which users were written. */
  readonly signal: AbortSignal;
  onProgress(progress: ImportProgress): void;
}

/** Rows and lines are counted from 1. The header is not counted as a row. */
export interface RejectedRow {
  readonly row: number;
  readonly line: number;
  readonly cells: readonly string[];
  readonly problem: RowProblem;
}

export interface ImportProgress extends BatchState {
  /** The share of the work that is done, from 0 to 1. */
  readonly share: number;
}

export interface ImportReport extends ImportProgress {
  readonly source: ImportFile;
  /** Whether the file was processed to its end. */
  readonly isWhole: boolean;
  /** The error that ended the import early, for users; empty if the user stopped it. */
  readonly problem: string;
  /** The first rejected rows. */
  readonly rejectedRows: readonly RejectedRow[];
  /** The problems of these rows that the page explains itself, by the number of the row. */
  readonly texts: ReadonlyMap<number, string>;
  /** The other rejected rows as CSV, without a header. */
  readonly rejectedRest: { readonly rows: number; readonly csv: Blob };
  /** Before the text of the file with rejected rows. It identifies UTF-8 if the original file was not plain UTF-8. */
  readonly mark: string;
}

/** Never rejects. The report contains the error, because users written before it stay in the directory. */
export async function importUsers(
  directory: Directory,
  source: ImportFile,
  { onTaken, signal, onProgress }: ImportOptions,
): Promise<ImportReport> {
  const { decoded, share } = openFile(source);
  const rejectedRows: RejectedRow[] = [];
  const rest = createBlobWriter('text/csv');
  const { format } = rejectedCsvOf(source);
  const sender = new BatchSender({
    directory,
    onTaken,
    signal,
    onChange: () => onProgress({ ...sender.state, share: share() }),
    onRejected({ row, line, original }, problem) {
      const cells = [original].flat();
      if (rejectedRows.length < rejectedKeptMax) rejectedRows.push({ row, line, cells, problem });
      else rest.write(format(cells, problem));
    },
  });
  const problem = await problemOf(signal, () => sendAll(readRows(decoded.text, source), (batch) => sender.send(batch)));
  return {
    ...sender.state,
    source,
    share: share(),
    isWaiting: false,
    isWhole: problem === undefined,
    problem: problem ?? '',
    rejectedRows,
    texts: await explainRejected(source, rejectedRows),
    rejectedRest: { rows: sender.state.rejected - rejectedRows.length, csv: rest.blob() },
    mark: decoded.isPlainUtf8() ? '' : '\ufeff',
  };
}

/** Sends corrected rows. Those that are rejected again, or that were not sent, are in the new report. Never rejects. */
export async function retryRejected(
  directory: Directory,
  report: ImportReport,
  { onTaken, signal, onProgress }: ImportOptions,
): Promise<ImportReport> {
  const { rejectedRows, rejectedRest, source } = report;
  const open = new Map(rejectedRows.map((row) => [row.row, row]));
  let sent = 0;
  const progress = (): ImportProgress => ({ ...sender.state, share: sent / Math.max(1, rejectedRows.length) });
  const sender = new BatchSender({
    directory,
    onTaken,
    signal,
    initial: { ...report, rejected: rejectedRest.rows, unclear: undefined },
    onChange: () => onProgress(progress()),
    onAccepted: ({ row }) => void open.delete(row),
    onRejected({ row, line, original }, problem) {
      open.set(row, { row, line, cells: [original].flat(), problem });
    },
  });
  async function* rows(): AsyncGenerator<BatchRow> {
    const drafts = fileRowsOf(rejectedRows, source.columns);
    for (const [index, { row }] of rejectedRows.entries()) {
      const draft = drafts[index];
      if (draft !== undefined) yield { ...draft, row };
    }
  }
  const problem = await problemOf(signal, () =>
    sendAll(rows(), async (batch) => {
      const isAccepted = await sender.send(batch);
      sent += batch.length;
      return isAccepted;
    }),
  );
  const stillRejected = [...open.values()];
  return {
    ...report,
    ...progress(),
    isWaiting: false,
    problem: problem ?? '',
    rejected: open.size + rejectedRest.rows,
    rejectedRows: stillRejected,
    texts: await explainRejected(source, stillRejected),
  };
}

function explainRejected(source: ImportFile, rejectedRows: readonly RejectedRow[]) {
  return explainProblems(source.columns, rejectedRows, () => readRows(openFile(source).decoded.text, source));
}

/** All rejected rows as CSV, with the problem in the first columns; undefined if no row was rejected. */
export function rejectedFileOf({ source, rejected, rejectedRows, rejectedRest, mark }: ImportReport): Blob | undefined {
  if (rejected === 0) return undefined;
  const { header, format } = rejectedCsvOf(source);
  const rows = rejectedRows.map(({ cells, problem }) => format(cells, problem));
  return new Blob([mark, header, ...rows, rejectedRest.csv], { type: 'text/csv' });
}

function rejectedCsvOf({ columns, delimiter }: ImportFile) {
  return createRejectedCsv(
    columns.map(({ name }) => name),
    delimiter,
  );
}

/** Opens the file for reading. `share` is the share of its bytes that was read so far. */
export function openFile({ file, encoding }: ImportFile): { decoded: DecodedText; share(): number } {
  let share = file.size === 0 ? 1 : 0;
  const onBytes = (bytes: number) => {
    share = bytes / file.size;
  };
  return { decoded: readText(file, { encoding, onBytes }), share: () => share };
}

/** Yields the rows after the header. Throws UnreadableFile after the last row that can be read. */
export async function* readRows(
  text: AsyncIterable<string>,
  { delimiter, columns }: ImportFile,
): AsyncGenerator<Row & { readonly row: number }> {
  let row = 0;
  let isHeader = true;
  for await (const records of readRecords(await openCsv(text, delimiter))) {
    for (const fileRow of fileRowsOf(isHeader ? records.slice(1) : records, columns)) yield { ...fileRow, row: ++row };
    isHeader = false;
  }
}

/** Returns the error for the user, an empty text if the user stopped the import, or undefined if `run` succeeded. */
export async function problemOf(signal: AbortSignal, run: () => Promise<void>): Promise<string | undefined> {
  try {
    await run();
    return undefined;
  } catch (error) {
    if (signal.aborted) return '';
    return error instanceof Error ? error.message : 'Something unexpected went wrong.';
  }
}

/** Sends the rows in batches. `send` returns whether the server accepted all rows. */
async function sendAll(
  rows: AsyncIterable<BatchRow>,
  send: (batch: readonly BatchRow[]) => Promise<boolean>,
): Promise<void> {
  let rowsMax = batchRowsMax;
  let batch: BatchRow[] = [];
  let length = 0;
  const flush = async () => {
    if (batch.length === 0) return;
    const isAccepted = await send(batch);
    rowsMax = isAccepted ? Math.min(batchRowsMax, rowsMax * 2) : Math.max(batchRowsMin, rowsMax / 2);
    batch = [];
    length = 0;
  };
  let unreadable: UnreadableFile | undefined;
  try {
    for await (const row of rows) {
      batch.push(row);
      for (const cell of row.original) length += cell.length;
      if (batch.length >= rowsMax || length >= batchLengthMax) await flush();
    }
  } catch (error) {
    if (!(error instanceof UnreadableFile)) throw error;
    // Send the rows before the error first.
    unreadable = error;
  }
  await flush();
  if (unreadable !== undefined) throw unreadable;
}
