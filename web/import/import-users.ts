/**
 * Imports the users of a CSV file in batches, and reports each row that was not written. Keeps one batch of the file in
 * memory, and the first rejected rows, so that the user can correct them.
 */
import type { Row, RowProblem } from '../../src/user-files/columns.js';
import { openCsv, readRecords, separatorLine } from '../../src/user-files/csv.js';
import { type DecodedText, UnreadableFile } from '../../src/user-files/file-text.js';
import { type Column, missingFields, nameForFile } from '../../src/user-files/header.js';
import type { Directory } from '../calls/directory.js';
import { formatLine } from '../text/csv-line.js';
import { createBlobWriter } from '../ui/download.js';
import { createRejectedCsv, fileRowsOf, readText } from './csv.js';
import { canReadNamesAtOnce, needsFirstName } from './existing-users.js';
import { type BatchRow, BatchSender, type BatchState, initialState, type UnfinishedBatch } from './import-batch.js';
import type { OnTaken } from './import-messages.js';
import { explainEmpty, explainProblems } from './import-problems.js';
import { createReasons, type RejectReason } from './reject-reasons.js';

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
  /** Whether the first line names the columns. Otherwise it is a row. */
  readonly hasHeader: boolean;
  readonly columns: readonly Column[];
  /** The number of rows that can be read. */
  readonly rows: number;
}

export interface ImportOptions {
  readonly onTaken: OnTaken;
  /** Ends the import after the current batch, so that it is known which users were written. */
  readonly signal: AbortSignal;
  onProgress(progress: BatchState): void;
}

/** Rows and lines are counted from 1. The header is not counted as a row. */
export interface RejectedRow {
  readonly row: number;
  readonly line: number;
  readonly cells: readonly string[];
  /** Entered for a new user, if the file has no column for it. */
  readonly firstName?: string;
  readonly problem: RowProblem;
}

/** The rows that an import has not sent, or whose result it does not know. */
interface UnsentRows {
  readonly batch: UnfinishedBatch;
  /** The last row of the file that was read. All later rows are unsent too. */
  readonly lastRead: number;
}

export interface ImportReport extends BatchState {
  readonly source: ImportFile;
  /** Whether the file was processed to its end. */
  readonly isWhole: boolean;
  /** The error that ended the import early, for users; empty if the user stopped it. */
  readonly problem: string;
  /** The rows of corrections whose result is not known. Those of the import itself are `unclear`. */
  readonly unclearRetried: BatchState['unclear'];
  /** Set if the import can continue. */
  readonly unsent: UnsentRows | undefined;
  /** The first rejected rows. */
  readonly rejectedRows: readonly RejectedRow[];
  /** The problems of these rows that the page explains itself, by the number of the row. */
  readonly texts: ReadonlyMap<number, string>;
  /** The other rejected rows: as CSV without a header, and counted by their reasons. */
  readonly rejectedRest: {
    readonly rows: number;
    readonly csv: Blob;
    readonly reasons: readonly RejectReason[];
  };
  /** Before the text of the file with rejected rows. It identifies UTF-8 if the original file was not plain UTF-8. */
  readonly mark: string;
}

/** Never rejects. The report contains the error, because users written before it stay in the directory. */
export function importUsers(directory: Directory, source: ImportFile, options: ImportOptions): Promise<ImportReport> {
  return importFrom(directory, source, options);
}

/** Continues an import that has ended early. Never rejects. */
export function continueImport(
  directory: Directory,
  report: ImportReport,
  options: ImportOptions,
): Promise<ImportReport> {
  return importFrom(directory, report.source, options, report);
}

async function importFrom(
  directory: Directory,
  source: ImportFile,
  { onTaken, signal, onProgress }: ImportOptions,
  before?: ImportReport,
): Promise<ImportReport> {
  const { decoded } = openFile(source);
  const rejectedRows: RejectedRow[] = [...(before?.rejectedRows ?? [])];
  const rest = createBlobWriter('text/csv');
  const restReasons = createReasons(before?.rejectedRest.reasons);
  const { format } = rejectedCsvOf(source);
  const sender = new BatchSender({
    directory,
    onTaken,
    signal,
    initial: before ?? initialState,
    onChange: () => onProgress(sender.state),
    onRejected({ row, line, original }, problem) {
      const cells = [original].flat();
      if (rejectedRows.length < rejectedKeptMax) rejectedRows.push({ row, line, cells, problem });
      else {
        rest.write(format(cells, problem));
        restReasons.add({ row, line }, reasonOf(source, { cells, problem }));
      }
    },
  });
  let lastRead = before?.unsent?.lastRead ?? 0;
  const rows = rowsAfter(lastRead, readRows(decoded.text, source));
  const problem = await problemOf(signal, async () => {
    if (before?.unsent !== undefined) await sender.resume(before.unsent.batch);
    await sendAll(rows, onTaken, (batch) => {
      lastRead = batch.at(-1)?.row ?? lastRead;
      return sender.send(batch);
    });
  });
  const { unfinished } = sender;
  return {
    ...sender.state,
    source,
    unclearRetried: before?.unclearRetried,
    unsent: unfinished && { batch: unfinished, lastRead },
    isWaiting: false,
    isWhole: problem === undefined,
    problem: problem ?? '',
    rejectedRows,
    texts: await explainRejected(source, rejectedRows),
    rejectedRest: {
      rows: sender.state.rejected - rejectedRows.length,
      csv: new Blob([before?.rejectedRest.csv ?? '', rest.blob()]),
      reasons: restReasons.list(),
    },
    // An import that continues may end before it reads the file.
    mark: before?.mark ?? (decoded.isPlainUtf8() ? '' : '\ufeff'),
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
  const sender = new BatchSender({
    directory,
    onTaken,
    signal,
    initial: { ...report, rejected: rejectedRest.rows, unclear: undefined },
    onChange: () => onProgress(sender.state),
    onAccepted: ({ row }) => void open.delete(row),
    onRejected({ row, line, original }, problem) {
      open.set(row, { ...open.get(row), row, line, cells: [original].flat(), problem });
    },
  });
  async function* rows(): AsyncGenerator<BatchRow> {
    const drafts = fileRowsOf(rejectedRows, source.columns);
    for (const [index, { row, firstName = '' }] of rejectedRows.entries()) {
      const draft = drafts[index];
      if (draft === undefined) continue;
      const isNamed = draft.user !== undefined && firstName.trim() !== '';
      yield isNamed ? { ...draft, row, user: { ...draft.user, firstName: firstName.trim() } } : { ...draft, row };
    }
  }
  const problem = await problemOf(signal, () => sendAll(rows(), onTaken, (batch) => sender.send(batch)));
  const stillRejected = [...open.values()];
  return {
    ...report,
    ...sender.state,
    isWaiting: false,
    // Those rows are sent again when the import continues.
    unclear: report.unsent && report.unclear,
    unclearRetried: sender.state.unclear,
    problem: problem ?? '',
    rejected: open.size + rejectedRest.rows,
    rejectedRows: stillRejected,
    texts: await explainRejected(source, stillRejected),
  };
}

/** The reasons of all rejected rows, the most frequent first. */
export function reasonsOf({ source, rejectedRows, rejectedRest }: ImportReport): readonly RejectReason[] {
  const reasons = createReasons(rejectedRest.reasons);
  for (const rejectedRow of rejectedRows) reasons.add(rejectedRow, reasonOf(source, rejectedRow));
  return reasons.list();
}

/** A reason that all rows with the same problem share. */
function reasonOf({ columns }: ImportFile, rejectedRow: Pick<RejectedRow, 'cells' | 'firstName' | 'problem'>) {
  const { problem } = rejectedRow;
  // Only the first rejected rows are compared with the others of the file.
  if (problem.reason === 'EMAIL_TAKEN') return { ...problem, message: 'Another user or another row has this email.' };
  return { ...problem, message: explainEmpty(columns, rejectedRow) ?? problem.message };
}

function explainRejected(source: ImportFile, rejectedRows: readonly RejectedRow[]) {
  return explainProblems(source.columns, rejectedRows, () => readRows(openFile(source).decoded.text, source));
}

/** All rejected rows as CSV, with the problem in the first columns; undefined if no row was rejected. */
export function rejectedFileOf({ source, rejected, rejectedRows, rejectedRest, mark }: ImportReport): Blob | undefined {
  if (rejected === 0) return undefined;
  const { header, format } = rejectedCsvOf(source);
  const rows = rejectedRows.map(({ cells, problem, firstName }) => format(cells, problem, firstName));
  return new Blob([mark, header, ...rows, rejectedRest.csv], { type: 'text/csv' });
}

/** The unsent rows as CSV, with the columns of the original file. Leaves out rows that cannot be read. */
export async function unsentFileOf({ source, unsent, mark }: ImportReport): Promise<Blob> {
  const { columns, delimiter } = source;
  const names = columns.map(nameForFile);
  const csv = createBlobWriter('text/csv', mark + separatorLine(delimiter) + formatLine(names, delimiter));
  const write = ({ original }: BatchRow) => csv.write(formatLine([original].flat(), delimiter));
  if (unsent === undefined) return csv.blob();
  unsent.batch.rows.forEach(write);
  try {
    for await (const row of rowsAfter(unsent.lastRead, readRows(openFile(source).decoded.text, source))) write(row);
  } catch (error) {
    if (!(error instanceof UnreadableFile)) throw error;
  }
  return csv.blob();
}

async function* rowsAfter<T extends { readonly row: number }>(last: number, rows: AsyncIterable<T>) {
  for await (const row of rows) if (row.row > last) yield row;
}

/** Only a file for an update may lack it. Its rows for new users then need a first name from elsewhere. */
export function lacksFirstName(columns: readonly Column[]): boolean {
  return missingFields(columns).includes('first_name');
}

function rejectedCsvOf({ columns, delimiter }: ImportFile) {
  return createRejectedCsv(columns.map(nameForFile), delimiter, lacksFirstName(columns));
}

/** Opens the file for reading. `share` is the share of its bytes that was read so far. */
export function openFile({ file, encoding }: ImportFile): { decoded: DecodedText; share(): number } {
  let share = file.size === 0 ? 1 : 0;
  const onBytes = (bytes: number) => {
    share = bytes / file.size;
  };
  return { decoded: readText(file, { encoding, onBytes }), share: () => share };
}

/** Yields the rows after the header, if there is one. Throws UnreadableFile after the last row that can be read. */
export async function* readRows(
  text: AsyncIterable<string>,
  { delimiter, hasHeader, columns }: ImportFile,
): AsyncGenerator<Row & { readonly row: number }> {
  let row = 0;
  let isHeader = hasHeader;
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
  onTaken: OnTaken,
  send: (batch: readonly BatchRow[]) => Promise<boolean>,
): Promise<void> {
  let rowsMax = batchRowsMax;
  let batch: BatchRow[] = [];
  let length = 0;
  let nameless: object[] = [];
  const flush = async () => {
    if (batch.length === 0) return;
    const isAccepted = await send(batch);
    rowsMax = isAccepted ? Math.min(batchRowsMax, rowsMax * 2) : Math.max(batchRowsMin, rowsMax / 2);
    batch = [];
    length = 0;
    nameless = [];
  };
  let unreadable: UnreadableFile | undefined;
  try {
    for await (const row of rows) {
      const { user } = row;
      if (onTaken === 'update' && user !== undefined && needsFirstName(user)) {
        if (!canReadNamesAtOnce([...nameless, user])) await flush();
        nameless.push(user);
      }
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
