/**
 * Sends the rows of a file to the server, in one import or in parts, and reports rejected rows. If the import fails, it says
 * what may have been written.
 */
import { type Client, type DeepPartial, RosterError, type StatusName, type User } from '../client/index.js';
import type { Row, RowProblem } from '../user-files/columns.js';
import { UnreadableFile } from '../user-files/file-text.js';
import { createPlaces } from '../user-files/places.js';
import { RowsRejected } from './failure.js';
import { createImportReport, type ImportReport } from './import-report.js';
import { count } from './progress.js';
import type { RejectedFile } from './rejected-file.js';
import type { UserFile } from './user-file.js';

// The size of a part with --rejected: large enough to hide round trips, and at most 64 MiB of the largest users.
export const partRowsMax = 5_000;
const partLengthMax = 16_777_216;

export interface ImportRunOptions {
  onConflict: 'reject' | 'skip' | 'update';
  /** With `update`: remove the attributes that a row does not have. */
  replaceAttributes?: boolean;
  keepGoing?: boolean;
  dryRun?: boolean;
  /** The path of the file for rejected rows. */
  rejected?: string;
}

/** The state of the directory after an import that did not finish. */
export interface WriteState {
  state: 'NOTHING_WRITTEN' | 'PARTLY_WRITTEN' | 'UNKNOWN';
  message: string;
}

export const nothingWritten: WriteState = { state: 'NOTHING_WRITTEN', message: 'nothing was written.' };

// After these errors, the server may have written the rows although the client received no response.
const unclearCodes: readonly StatusName[] = ['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED', 'UNKNOWN', 'INTERNAL'];

/** A row with its number in the file, from 0. */
type NumberedRow = Row & { row: number };
type Rejection = readonly [NumberedRow, RowProblem];

export class ImportRun {
  readonly report: ImportReport;
  readonly #client: Client;
  readonly #file: UserFile;
  readonly #options: ImportRunOptions;
  readonly #signal: AbortSignal;
  #rowsRead = 0;
  #rowsDone = 0;
  /** Whether the server may be writing the rows of an import, because it has not responded yet. */
  #isPending = false;
  /** Whether the valid rows of the current part are written, but its rejected rows are not in the file yet. */
  #isPartWritten = false;

  constructor(client: Client, file: UserFile, options: ImportRunOptions, signal: AbortSignal) {
    this.report = createImportReport(file.columns);
    this.#client = client;
    this.#file = file;
    this.#options = options;
    this.#signal = signal;
  }

  /** The current activity, for the progress. */
  get activity(): string {
    const { dryRun } = this.#options;
    if (this.#isPending && this.#rowsDone === 0) return dryRun ? 'Finishing' : 'Writing';
    return dryRun ? 'Checking' : 'Importing';
  }

  get rows(): number {
    return this.#rowsRead;
  }

  get #conflictOptions() {
    const { onConflict, replaceAttributes } = this.#options;
    return { onConflict, mergeAttributes: replaceAttributes !== true };
  }

  /** Sends all rows in one import, which writes all of them at its end, or nothing. */
  async sendWhole(): Promise<void> {
    const { keepGoing, dryRun } = this.#options;
    const places = createPlaces();
    const options = { ...this.#conflictOptions, keepGoing, validateOnly: dryRun, signal: this.#signal };
    const response = await this.#client.importAllUsers(this.#users(places), options);
    this.#isPending = false;
    this.report.addCounts(response);
    this.report.addRejected(response, places.find);
  }

  async *#users(places: ReturnType<typeof createPlaces>): AsyncGenerator<DeepPartial<User>> {
    for await (const { line, user, problem } of this.#file.rows) {
      const row = this.#rowsRead++;
      if (user !== undefined) {
        places.add({ row, line });
        yield user;
      } else if (this.#options.keepGoing) {
        this.report.reject({ row, line }, problem);
      } else {
        throw new RowsRejected(`Row ${row + 1} (line ${line}): ${describe(problem)}`);
      }
    }
    this.#isPending = true;
  }

  /** Sends each part, and repeats it without the rejected rows until the server writes it. */
  async sendParts(rejectedFile: RejectedFile): Promise<void> {
    await using file = rejectedFile;
    for await (const part of partsOf(this.#file.rows)) {
      const rejections: Rejection[] = [];
      const valid: NumberedRow[] = [];
      for (const row of part) {
        const numbered = { ...row, row: this.#rowsRead++ };
        if (row.problem === undefined) valid.push(numbered);
        else rejections.push([numbered, row.problem]);
      }
      rejections.push(...(await this.#write(valid)));
      rejections.sort(([a], [b]) => a.row - b.row);
      for (const [row, problem] of rejections) this.report.reject(row, problem);
      await file.write(rejections.map(([row, problem]) => this.#file.formatRejected(row, problem)).join(''));
      this.#rowsDone = this.#rowsRead;
      this.#isPartWritten = false;
    }
  }

  /** Returns the rows that the server rejected. It wrote the others. */
  async #write(rows: NumberedRow[]): Promise<Rejection[]> {
    const rejections: Rejection[] = [];
    let rest = rows;
    while (rest.length > 0) {
      this.#isPending = true;
      const users = rest.map(({ user }) => user ?? {});
      const options = { ...this.#conflictOptions, signal: this.#signal };
      const response = await this.#client.importAllUsers(users, options);
      this.#isPending = false;
      if (response.committed) {
        this.#isPartWritten = true;
        this.report.addCounts(response);
        return rejections;
      }
      const problems = new Map(response.errors.map((error) => [error.row, error]));
      if (problems.size === 0) throw new Error('The server rejected rows without naming them.');
      rest = rest.filter((row, index) => {
        const problem = problems.get(index);
        if (problem !== undefined) rejections.push([row, problem]);
        return problem === undefined;
      });
    }
    return rejections;
  }

  /** Returns the state of the directory after `error` has ended the import. */
  stateAfter(error: unknown): WriteState {
    const { onConflict, dryRun, rejected } = this.#options;
    const isUnclear = !(error instanceof RosterError) || unclearCodes.includes(error.code);
    const isUnknown = this.#isPending && isUnclear && !dryRun;
    if (this.#rowsDone > 0 || this.#isPartWritten) {
      const done = this.#rowsDone > 0 ? [`the first ${count(this.#rowsDone)} rows of the file were processed.`] : [];
      const among = done.length > 0 ? 'Among' : 'among';
      const rowsNext = `rows ${count(this.#rowsDone + 1)} to ${count(this.#rowsRead)}`;
      if (isUnknown) done.push(`It is not known whether ${rowsNext} were written.`);
      if (this.#isPartWritten) {
        done.push(`${among} ${rowsNext}, the valid ones were written, but some rejected ones are not in the file.`);
      }
      const skip = onConflict === 'reject' ? '--on-conflict skip and ' : '';
      const next = `To continue, run the same command with ${skip}another file for --rejected.`;
      return { state: 'PARTLY_WRITTEN', message: [...done, 'The rest was not written.', next].join(' ') };
    }
    if (!isUnknown) return nothingWritten;
    const instead = rejected === undefined ? '' : ' instead of --rejected';
    const howToSee = `To find out, run the same command with --dry-run --on-conflict skip${instead}: it skips rows that were written.`;
    return { state: 'UNKNOWN', message: `it is not known whether anything was written. ${howToSee}` };
  }
}

function describe({ field, message }: RowProblem): string {
  return field === '' ? message : `${field}: ${message}`;
}

/** If the file becomes unreadable, first yields the rows before that as the last part. */
async function* partsOf(rows: AsyncIterable<Row>): AsyncGenerator<Row[]> {
  let part: Row[] = [];
  let length = 0;
  let unreadable: UnreadableFile | undefined;
  try {
    for await (const row of rows) {
      part.push(row);
      for (const piece of [row.original].flat()) length += piece.length;
      if (part.length >= partRowsMax || length >= partLengthMax) {
        yield part;
        part = [];
        length = 0;
      }
    }
  } catch (error) {
    if (!(error instanceof UnreadableFile)) throw error;
    unreadable = error;
  }
  if (part.length > 0) yield part;
  if (unreadable !== undefined) throw unreadable;
}
