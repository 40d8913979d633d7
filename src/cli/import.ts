/**
 * `roster import`: sends the users of a file to the directory, and reports rejected rows.
 *
 * Holds at most one part of the file in memory. However the import ends, the command says whether anything was written.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Client, RosterError } from '../client/index.js';
import { writablePaths } from '../fields.js';
import { safeJson, safeText } from '../safe-text.js';
import { type ColumnOptions, ignoredFields, type Row } from '../user-files/columns.js';
import { delimiterNames } from '../user-files/csv.js';
import { describeEncoding, parseEncoding, UnreadableFile, WrongEncoding } from '../user-files/file-text.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { parseColumn } from './column-option.js';
import { RowsRejected, UsageError } from './failure.js';
import type { ImportReport } from './import-report.js';
import { ImportRun, type ImportRunOptions, nothingWritten, partRowsMax, type WriteState } from './import-run.js';
import { count, showProgress, showsProgress } from './progress.js';
import { openRejectedFile } from './rejected-file.js';
import { Interrupted, print, type Terminal } from './terminal.js';
import { readCsvUsers } from './user-csv.js';
import { formatOf, formatOption, openText, type TextSource, type UserFile, type UserFormat } from './user-file.js';
import { readNdjsonUsers } from './user-ndjson.js';

type ImportOptions = ClientCommandOptions &
  ColumnOptions &
  ImportRunOptions & {
    format?: UserFormat;
    delimiter?: string;
    encoding?: string;
    progress: boolean;
  };

const help = `
CSV columns and the members of NDJSON objects are
  ${writablePaths.join(', ')} (a JSON object),
  attributes.KEY (one attribute, a text in CSV; KEY is everything after the first dot).

In CSV, case and punctuation do not matter (First Name, firstName), and common names of other systems are known:
Given name, Surname, Mail, E-Mail Address, sn, "First Name [Required]" and more. The command shows the field of each
column before it writes anything, also with --dry-run. With --json, the report lists the columns.

Fields that only the directory writes (${ignoredFields.join(', ')}) and fields that --rejected adds
(error_field, error_reason, error_message, or "error") are ignored, so that you can import an export or a corrected file
of rejected rows. An empty cell leaves a field unset. Blank rows are skipped.
With --on-conflict update, fields and attributes that a row does not set stay as they are.

A file is UTF-8, UTF-16 with a byte order mark, or in the given --encoding. A byte order mark overrides --encoding.

Without --keep-going, one invalid or unreadable row means that nothing is written. With it, such rows are rejected and
the others are written. Broken quotes or a wrong encoding always end the import, because the rows after them cannot be
read. The rows before them are checked and reported. All rows are written together at the end, except with --rejected:
then they are written in parts of up to ${count(partRowsMax)}, because the server names at most 100 rejected rows of one import. The
--rejected file has every rejected row with its problem, so that you can correct it and import it. After Ctrl-C, the
command says what was written.

Exit code 7 means that rows were rejected. With --json, "committed" says whether the others were written, rows count from
0, and lines from 1.`;

export function createImportCommand(context: Context): Command {
  return createClientCommand('import', 'Add the users of a CSV or NDJSON file, or from the standard input.', [
    'import users.csv --dry-run',
    'import users.csv --keep-going --rejected rejected.csv',
    `import people.csv --delimiter ';' --column first_name="Given name" --column attributes.team=Team --on-conflict update`,
    'export --address old:50051 | roster import - --format ndjson --on-conflict skip',
  ])
    .argument('<file>', 'the path of the file, or - for the standard input')
    .addOption(formatOption('by the extension: .csv, .tsv, .ndjson, .jsonl'))
    .option(
      '--delimiter <character>',
      'the character between CSV cells, or the word tab (default: from a line sep=; or the header)',
      parseDelimiter,
    )
    .option(
      '--encoding <name>',
      'the encoding of the file, such as windows-1252 (default: from its byte order mark, or utf-8)',
      parseEncodingOption,
    )
    .option('--column <field=name>', 'the name of a field in the file; may be repeated', parseColumn)
    .option('--ignore-unknown-columns', 'ignore columns that are not fields of a user')
    .addOption(
      new Option('--on-conflict <action>', 'the action if an email is taken, in the directory or by an earlier row')
        .choices(['reject', 'skip', 'update'])
        .default('reject'),
    )
    .option('--replace-attributes', 'with --on-conflict update: remove the attributes that a row does not have')
    .option('--keep-going', 'write valid rows even if others are rejected')
    .option('--dry-run', 'check everything and write nothing')
    .option(
      '--rejected <file>',
      'write all rejected rows to this file, in the format of the import; needs --keep-going',
    )
    .option('--no-progress', 'show neither the columns nor the progress')
    .addHelpText('after', help)
    .action((file: string, options: ImportOptions) =>
      withClient(context, options, (client) => importFile(client, context, file, options)),
    );
}

function parseDelimiter(text: string): string {
  if (text === 'tab' || text === '\\t') return '\t';
  if (!/^[^\s"]$/.test(text) && text !== '\t')
    throw new InvalidArgumentError('It must be one character or the word tab.');
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
  if (format === undefined) throw new UsageError('The format is not known. Pass --format csv or --format ndjson.');
  if (format === 'ndjson' && options.delimiter !== undefined) throw new UsageError('--delimiter works only with CSV.');
  if (rejected !== undefined && (!keepGoing || dryRun)) {
    throw new UsageError('--rejected needs --keep-going and does not work with --dry-run.');
  }
  let run: ImportRun | undefined;
  try {
    await using source = await openText(file, options.encoding, terminal, signal);
    const users = await readUsers(source, format, options);
    await requireServer(client, signal);
    if (showsProgress(terminal, options)) await print(terminal.stderr, describeFile(source, users));
    run = new ImportRun(client, users, options, signal);
    using _progress = showsProgress(terminal, options) ? showImportProgress(terminal, run, source) : undefined;
    if (rejected === undefined) await run.sendWhole();
    else await run.sendParts(await openRejectedFile(rejected, source));
  } catch (error) {
    const state = run?.stateAfter(error) ?? nothingWritten;
    const check = () => checkRows(client, context, file, format, options);
    const { report, failure } = run === undefined ? { failure: error } : await explain(error, run, state, check);
    if (report !== undefined) await print(terminal.stdout, json ? report.toJson() : report.toText()).catch(() => {});
    const message = error instanceof Interrupted ? `Interrupted: ${state.message}` : capitalize(state.message);
    // A failure to print this must not hide the error itself.
    await print(terminal.stderr, json ? `${safeJson({ ...state, message })}\n` : `${message}\n`).catch(() => {});
    throw withAdvice(failure);
  }

  const { report } = run;
  await print(terminal.stdout, json ? report.toJson() : report.toText());
  const rejectedCount = report.counts.rejected;
  if (dryRun && !json) await print(terminal.stdout, 'Dry run: nothing was written.\n');
  if (rejectedCount === 0) return;
  const rows = rejectedCount === 1 ? 'One row was rejected' : `${count(rejectedCount)} rows were rejected`;
  if (dryRun) throw new RowsRejected(`${rows}.`);
  if (!report.committed) throw new RowsRejected(keepGoing ? `${rows}.` : `${rows}, so nothing was written.`);
  const where = rejected === undefined ? '' : ` and ${rejectedCount === 1 ? 'is' : 'are'} in ${rejected}`;
  throw new RowsRejected(`${rows}${where}. The others are in the directory.`);
}

function readUsers(source: TextSource, format: UserFormat, options: ImportOptions): Promise<UserFile> | UserFile {
  return format === 'csv' ? readCsvUsers(source.text, options) : readNdjsonUsers(source.text, options);
}

/** Returns whole lines: the encoding and the delimiter if they are not the usual ones, and the field of each column. */
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
    activity: run.activity,
    rows: run.rows,
    position: source.bytesRead(),
    total: source.bytesTotal,
  }));
}

/** Why an import ended early. If the file is the reason, this has all problems of the file, not only the first. */
interface Explanation {
  readonly failure: unknown;
  /** Set if rows were rejected. */
  readonly report?: ImportReport;
}

async function explain(
  error: unknown,
  run: ImportRun,
  { state }: WriteState,
  check: () => Promise<Explanation>,
): Promise<Explanation> {
  const isFileInvalid = error instanceof UnreadableFile || error instanceof RowsRejected;
  if (!isFileInvalid) return { failure: error };
  if (state !== 'NOTHING_WRITTEN') return { failure: error, report: run.report };
  const { failure, report } = await check().catch(() => ({ failure: undefined, report: undefined }));
  return { failure: failure ?? error, report: report?.counts.rejected ? report : undefined };
}

/**
 * Checks all readable rows of a file and writes nothing, so that one run shows all problems. The standard input cannot
 * be read twice.
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
  const run = new ImportRun(client, { ...users, rows: readableRows() }, checkOptions, signal);
  using _progress = showsProgress(terminal, options) ? showImportProgress(terminal, run, source) : undefined;
  await run.sendWhole();
  return { failure, report: run.report };
}

function withAdvice(error: unknown): unknown {
  if (!(error instanceof WrongEncoding)) return error;
  return new UsageError(`${error.message} Pass the encoding of the file, such as --encoding ${error.suggestion}.`);
}

/** Throws if the server does not respond. Called before anything is sent, so that nothing can have been written. */
async function requireServer(client: Client, signal: AbortSignal): Promise<void> {
  try {
    await client.isServing({ signal });
  } catch (error) {
    // A proxy may block health checks. Then the import itself shows whether the server responds.
    if (!(error instanceof RosterError) || error.code !== 'UNIMPLEMENTED') throw error;
  }
}

function capitalize(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
