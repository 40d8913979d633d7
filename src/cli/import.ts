/**
 * `roster import`: sends a file's users to the directory, and says what became of each row that is not in it.
 *
 * Holds no more of the file than one part of it. Says after every end, Ctrl-C included, whether anything was written.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Client, type DeepPartial, RosterError, type StatusName, type User } from '../client/index.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { parseColumn } from './column-option.js';
import { delimiterNames } from './csv-rules.js';
import { RowsRejected, UsageError } from './failure.js';
import { describeEncoding, parseEncoding, UnreadableFile, WrongEncoding } from './file-text.js';
import { createImportReport, createPlaces } from './import-report.js';
import { count, showProgress, showsProgress } from './progress.js';
import { openRejectedFile, type RejectedFile } from './rejected-file.js';
import { Interrupted, print, type Terminal } from './terminal.js';
import { safeJson, safeText } from './text.js';
import type { ColumnOptions, Row, RowProblem } from './user-columns.js';
import { readCsvUsers } from './user-csv.js';
import { formatOf, formatOption, openText, type TextSource, type UserFile, type UserFormat } from './user-file.js';
import { readNdjsonUsers } from './user-ndjson.js';

// With --rejected. As many users as keep a part's share of the round trips small, and of the largest users no more than 64 MiB.
const partRowsMax = 5_000;
const partLengthMax = 16_777_216;

type ImportOptions = ClientCommandOptions &
  ColumnOptions & {
    format?: UserFormat;
    delimiter?: string;
    onConflict: 'reject' | 'skip' | 'update';
    keepGoing?: boolean;
    dryRun?: boolean;
    encoding?: string;
    rejected?: string;
    progress: boolean;
  };

const help = `
Columns, or members of each line's JSON object: first_name, last_name, email, profile_image_url, attributes (a JSON
object) and attributes.KEY (one attribute, a text from CSV; the key is all that follows the first dot).

In CSV, case and punctuation do not matter (First Name, firstName), and the names that other systems use are known:
Given name, Surname, Mail, E-Mail Address, sn, "First Name [Required]" and more. The command shows what each column is
before it writes anything, and with --dry-run, too. With --json the report has the columns.

What only the directory writes (id, display_name, create_time, update_time, etag) and what --rejected adds (error_field,
error_reason, error_message, or "error") is ignored, so that an export and a corrected file of rejected rows can be
imported. An empty cell is an unset field. Blank rows are skipped.

Files are UTF-8, or UTF-16 with a byte order mark, or what --encoding says. A byte order mark overrides --encoding.

Without --keep-going one bad row, also one that cannot be read, means that nothing is written; with it the row is
rejected and the others are written. Broken quotes or a wrong encoding end the import in any case, because the rows
after them cannot be read. The rows before them are checked and reported. Everything is written together at the end,
but with --rejected: then rows are written in parts of up to ${count(partRowsMax)}, because the server names no more than 100 rejected
rows of one import, and the file is to have all of them. They come with what is wrong, to be corrected and imported
again. Ctrl-C says what was written.

Exit code 7: rows were rejected. With --json, "committed" says whether the others were written; rows count from 0, lines from 1.`;

export function createImportCommand(context: Context): Command {
  return createClientCommand('import', 'Add the users of a CSV or NDJSON file, or of the standard input.', [
    'import users.csv --dry-run',
    'import users.csv --keep-going --rejected rejected.csv',
    `import people.csv --delimiter ';' --column first_name="Given name" --column attributes.team=Team --on-conflict update`,
    'export --address old:50051 | roster import - --format ndjson --on-conflict skip',
  ])
    .argument('<file>', 'its path, or - for the standard input')
    .addOption(formatOption('by the extension: .csv, .tsv, .ndjson, .jsonl'))
    .option(
      '--delimiter <character>',
      'what is between the cells of CSV, or the word tab (default: what a line sep=; or the header shows)',
      parseDelimiter,
    )
    .option(
      '--encoding <name>',
      'the encoding of the file, such as windows-1252 (default: what its byte order mark says, or utf-8)',
      parseEncodingOption,
    )
    .option('--column <field=name>', 'what the file calls a field; may be repeated', parseColumn)
    .option('--ignore-unknown-columns', 'leaves out what is no field of a user')
    .addOption(
      new Option(
        '--on-conflict <what>',
        'what happens to a row whose email is taken, in the directory or by an earlier row',
      )
        .choices(['reject', 'skip', 'update'])
        .default('reject'),
    )
    .option('--keep-going', 'writes good rows though others are bad')
    .option('--dry-run', 'checks everything and writes nothing')
    .option('--rejected <file>', 'where all rejected rows go, in the format of the import; with --keep-going')
    .option('--no-progress', 'prints neither the columns nor the progress')
    .addHelpText('after', help)
    .action((file: string, options: ImportOptions) =>
      withClient(context, options, (client) => importFile(client, context, file, options)),
    );
}

function parseDelimiter(text: string): string {
  if (text === 'tab' || text === '\\t') return '\t';
  if (!/^[^\s"]$/.test(text) && text !== '\t') throw new InvalidArgumentError('It must be one character, or tab.');
  return text;
}

function parseEncodingOption(text: string): string {
  const encoding = parseEncoding(text);
  if (encoding === undefined) {
    throw new InvalidArgumentError('It must be the name of an encoding, such as windows-1252, utf-16le or shift_jis.');
  }
  return encoding;
}

async function importFile(client: Client, context: Context, file: string, options: ImportOptions): Promise<void> {
  const { terminal, signal } = context;
  const { keepGoing, dryRun, rejected, json } = options;
  const format = formatOf(file, options.format);
  if (format === undefined) throw new UsageError('Say what the file is: --format csv or --format ndjson.');
  if (format === 'ndjson' && options.delimiter !== undefined) throw new UsageError('--delimiter is for CSV.');
  if (rejected !== undefined && (!keepGoing || dryRun)) {
    throw new UsageError('--rejected goes with --keep-going and without --dry-run.');
  }
  let run: ImportRun | undefined;
  try {
    await using source = await openText(file, options.encoding, terminal, signal);
    const users = await readUsers(source, format, options);
    await requireAnswer(client, signal);
    if (showsProgress(terminal, options)) await print(terminal.stderr, describeFile(source, users));
    run = createImportRun(client, users, options, signal);
    using _progress = showsProgress(terminal, options) ? showImportProgress(terminal, run, source) : undefined;
    if (rejected === undefined) await run.whole();
    else await run.inParts(await openRejectedFile(rejected, source));
  } catch (error) {
    const state = run?.stateAfter(error) ?? nothingWritten;
    const check = () => checkRows(client, context, file, format, options);
    const { report, failure } = run === undefined ? { failure: error } : await explain(error, run, state, check);
    if (report !== undefined) await print(terminal.stdout, json ? report.toJson() : report.toText()).catch(() => {});
    const message = error instanceof Interrupted ? `Interrupted: ${state.message}` : capitalize(state.message);
    // The error itself counts, whether anybody reads this or not.
    await print(terminal.stderr, json ? `${safeJson({ ...state, message })}\n` : `${message}\n`).catch(() => {});
    throw withAdvice(failure);
  }

  const { report } = run;
  await print(terminal.stdout, json ? report.toJson() : report.toText());
  const bad = report.counts.rejected;
  if (dryRun && !json) await print(terminal.stdout, 'A dry run: nothing was written.\n');
  if (bad === 0) return;
  const rows = bad === 1 ? 'One row was rejected' : `${count(bad)} rows were rejected`;
  if (dryRun) throw new RowsRejected(`${rows}.`);
  if (!report.committed) throw new RowsRejected(keepGoing ? `${rows}.` : `${rows}, so nothing was written.`);
  const where = rejected === undefined ? '' : ` and ${bad === 1 ? 'is' : 'are'} in ${rejected}, to be corrected`;
  throw new RowsRejected(`${rows}${where}; the others are in the directory.`);
}

function readUsers(source: TextSource, format: UserFormat, options: ImportOptions): Promise<UserFile> | UserFile {
  return format === 'csv' ? readCsvUsers(source.text, options) : readNdjsonUsers(source.text, options);
}

/** How the file is read, if that is not clear, and what its columns are. Whole lines. */
function describeFile(source: TextSource, { columns, delimiter = ',' }: UserFile): string {
  const lines: string[] = [];
  const encoding = source.encoding();
  if (columns !== undefined && (encoding !== 'utf-8' || delimiter !== ',')) {
    const between = delimiterNames[delimiter] ?? `"${delimiter}"`;
    lines.push(`The file is read as ${describeEncoding(encoding)}, with ${between} between the cells.`);
  }
  if (columns !== undefined) {
    const used = columns.filter(({ field }) => field !== '');
    const names = used.map(({ name, field }) => (name === field ? field : `${JSON.stringify(name)} is ${field}`));
    const unused = columns.filter(({ field }) => field === '').map(({ name }) => JSON.stringify(name));
    const rest = unused.length === 0 ? '' : ` Left out: ${unused.join(', ')}.`;
    lines.push(`Columns: ${names.join(', ')}.${rest}`);
  }
  return lines.map((line) => `${safeText(line)}\n`).join('');
}

function showImportProgress(terminal: Terminal, run: ImportRun, source: TextSource): Disposable {
  return showProgress(terminal, () => ({
    doing: run.doing,
    rows: run.rows,
    position: source.bytesRead(),
    total: source.bytesTotal,
  }));
}

/** Why an import ended early. If the file is the reason: all that is wrong with it, not only what was found first. */
interface Explanation {
  readonly failure: unknown;
  /** If it has rejected rows. */
  readonly report?: ImportReport;
}

async function explain(
  error: unknown,
  run: ImportRun,
  { state }: State,
  check: () => Promise<Explanation>,
): Promise<Explanation> {
  const isFileAtFault = error instanceof UnreadableFile || error instanceof RowsRejected;
  if (!isFileAtFault) return { failure: error };
  if (state !== 'NOTHING_WRITTEN') return { failure: error, report: run.report };
  const { failure, report } = await check().catch(() => ({ failure: undefined, report: undefined }));
  return { failure: failure ?? error, report: report?.counts.rejected ? report : undefined };
}

/**
 * Checks all rows of a file that can be read, and writes nothing. Without this each run would show one fault of the file.
 * The standard input cannot be read twice.
 */
async function checkRows(
  client: Client,
  { terminal, signal }: Context,
  file: string,
  format: UserFormat,
  options: ImportOptions,
): Promise<Explanation> {
  if (file === '-') return { failure: undefined };
  await using source = await openText(file, options.encoding, terminal, signal);
  const users = await readUsers(source, format, options);
  let failure: UnreadableFile | undefined;
  async function* readableRows(): AsyncGenerator<Row> {
    try {
      yield* users.rows;
    } catch (error) {
      if (!(error instanceof UnreadableFile)) throw error;
      failure = error;
    }
  }
  const checkOptions = { ...options, keepGoing: true, dryRun: true };
  const run = createImportRun(client, { ...users, rows: readableRows() }, checkOptions, signal);
  using _progress = showsProgress(terminal, options) ? showImportProgress(terminal, run, source) : undefined;
  await run.whole();
  return { failure, report: run.report };
}

function withAdvice(error: unknown): unknown {
  if (!(error instanceof WrongEncoding)) return error;
  return new UsageError(`${error.message} Name the encoding that it has, such as --encoding ${error.suggestion}.`);
}

/** Whoever is told at the start that nobody answers need not ask whether anything was written. */
async function requireAnswer(client: Client, signal: AbortSignal): Promise<void> {
  try {
    await client.isServing({ signal });
  } catch (error) {
    // Something on the way may let no health checks through; the import will tell.
    if (!(error instanceof RosterError) || error.code !== 'UNIMPLEMENTED') throw error;
  }
}

function capitalize(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** What the directory holds after an import that did not come to its end. */
interface State {
  state: 'NOTHING_WRITTEN' | 'PARTLY_WRITTEN' | 'UNKNOWN';
  message: string;
}

const nothingWritten: State = { state: 'NOTHING_WRITTEN', message: 'nothing was written.' };

type ImportReport = ReturnType<typeof createImportReport>;
type ImportRun = ReturnType<typeof createImportRun>;

// After these the server may have done what it was asked, and the answer was lost.
const unclear: readonly StatusName[] = ['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED', 'UNKNOWN', 'INTERNAL'];

function createImportRun(
  client: Client,
  { rows, columns, formatRejected }: UserFile,
  options: ImportOptions,
  signal: AbortSignal,
) {
  const { onConflict, keepGoing, dryRun, rejected: rejectedFile } = options;
  const report = createImportReport(columns);
  const doing = dryRun ? 'Checking' : 'Importing';
  let rowsRead = 0;
  let rowsDone = 0;
  // Whether the server has all it needs to write, and has not said that it did or did not.
  let isPending = false;
  // Whether good rows behind those are in the directory, though the bad ones among them are in no file yet.
  let isPartWritten = false;

  /** All rows in one import, which is written at its end or not at all. */
  async function whole(): Promise<void> {
    const places = createPlaces();
    async function* users(): AsyncGenerator<DeepPartial<User>> {
      for await (const { line, user, problem } of rows) {
        const row = rowsRead++;
        if (user !== undefined) {
          places.add({ row, line });
          yield user;
        } else if (keepGoing) {
          report.reject({ row, line }, problem);
        } else {
          throw new RowsRejected(`Row ${row + 1} (line ${line}): ${describe(problem)}`);
        }
      }
      isPending = true;
    }
    const response = await client.importAllUsers(users(), { onConflict, keepGoing, validateOnly: dryRun, signal });
    isPending = false;
    report.addCounts(response);
    report.addRejected(response, places.find);
  }

  /** Each part is tried as a whole and again without the rows that the server names, until it is in. */
  async function inParts(rejectedFile: RejectedFile): Promise<void> {
    await using file = rejectedFile;
    for await (const part of partsOf(rows)) {
      const rejected: [Row & { row: number }, RowProblem][] = [];
      let good: (Row & { row: number })[] = [];
      for (const row of part) {
        const numbered = { ...row, row: rowsRead++ };
        if (row.problem === undefined) good.push(numbered);
        else rejected.push([numbered, row.problem]);
      }
      while (good.length > 0) {
        isPending = true;
        const response = await client.importAllUsers(
          good.map(({ user }) => user ?? {}),
          { onConflict, signal },
        );
        isPending = false;
        if (response.committed) {
          isPartWritten = true;
          report.addCounts(response);
          break;
        }
        const problems = new Map(response.errors.map((error) => [error.row, error]));
        if (problems.size === 0) throw new Error('The server rejected rows and named none.');
        good = good.filter((row, index) => {
          const problem = problems.get(index);
          if (problem !== undefined) rejected.push([row, problem]);
          return problem === undefined;
        });
      }
      rejected.sort(([a], [b]) => a.row - b.row);
      for (const [row, problem] of rejected) report.reject(row, problem);
      await file.write(rejected.map(([row, problem]) => formatRejected(row, problem)).join(''));
      rowsDone = rowsRead;
      isPartWritten = false;
    }
  }

  function stateAfter(error: unknown): State {
    const isUnclear = !(error instanceof RosterError) || unclear.includes(error.code);
    const isUnknown = isPending && isUnclear && !dryRun;
    if (rowsDone > 0 || isPartWritten) {
      const rowsNext = `the rows ${count(rowsDone + 1)} to ${count(rowsRead)}`;
      const message = [
        ...(rowsDone > 0 ? [`the first ${count(rowsDone)} rows of the file are done.`] : []),
        ...(isUnknown ? [`Of ${rowsNext} it is not known.`] : []),
        ...(isPartWritten
          ? [
              `${rowsDone > 0 ? 'Of' : 'of'} ${rowsNext} the good ones are in the directory, but not all others in the file.`,
            ]
          : []),
        'The rest was not written.',
        `The same command goes on, with ${onConflict === 'reject' ? '--on-conflict skip and ' : ''}another file for --rejected.`,
      ].join(' ');
      return { state: 'PARTLY_WRITTEN', message };
    }
    if (!isUnknown) return nothingWritten;
    const instead = rejectedFile === undefined ? '' : ' instead of --rejected';
    const howToSee = `The same command with --dry-run --on-conflict skip${instead} tells: what it skips is there.`;
    return { state: 'UNKNOWN', message: `it is not known whether anything was written. ${howToSee}` };
  }

  return {
    whole,
    inParts,
    stateAfter,
    report,
    get doing() {
      return isPending && rowsDone === 0 ? (dryRun ? 'Finishing' : 'Writing') : doing;
    },
    get rows() {
      return rowsRead;
    },
  };
}

function describe({ field, message }: RowProblem): string {
  return field === '' ? message : `${field}: ${message}`;
}

/** Rows before a place that cannot be read are a part, too. */
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
