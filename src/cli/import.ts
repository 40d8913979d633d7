/**
 * `roster import`: sends a file's users to the directory, and says what became of each row that is not in it.
 *
 * Holds no more of the file than one part of it. Says after every end, Ctrl-C included, whether anything was written.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Client, type DeepPartial, RosterError, type StatusName, type User } from '../client/index.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { parseColumn } from './column-option.js';
import { RowsRejected, UsageError } from './failure.js';
import { createImportReport, createPlaces } from './import-report.js';
import { count, showProgress, showsProgress } from './progress.js';
import { openRejectedFile } from './rejected-file.js';
import { Interrupted, print } from './terminal.js';
import { safeJson } from './text.js';
import type { ColumnOptions, Row, RowProblem } from './user-columns.js';
import { readCsvUsers } from './user-csv.js';
import { formatOf, formatOption, openText, type UserFile, type UserFormat } from './user-file.js';
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
    rejected?: string;
    progress: boolean;
  };

const help = `
Columns, or members of each line's JSON object: first_name, last_name, email, profile_image_url, attributes (a JSON
object) and attributes.KEY (one attribute, a text from CSV; the key is all that follows the first dot). firstName will do
for first_name. What only the directory writes (id, display_name, create_time, update_time, etag) and what --rejected adds
(error_field, error_reason, error_message, or "error") is ignored, so that an export and a corrected file of rejected
rows can be imported. An empty cell is an unset field. The file is UTF-8.

Without --keep-going one bad row, also one that cannot be read, means that nothing is written; with it the row is
rejected and the others are written. CSV with broken quotes ends the import in any case, because nobody could say where
its next row begins. Everything is written together at the end, but with --rejected: then rows are written in parts of
up to ${count(partRowsMax)}, because the server names no more than 100 rejected rows of one import, and the file is to have all of them.
They come with what is wrong, to be corrected and imported again. Ctrl-C says what was written.

Exit code 7: rows were rejected. With --json, "committed" says whether the others were written; rows count from 0, lines from 1.`;

export function createImportCommand(context: Context): Command {
  return createClientCommand('import', 'Add the users of a CSV or NDJSON file, or of the standard input.', [
    'import users.csv --dry-run',
    'import users.csv --keep-going --rejected rejected.csv',
    `import people.csv --delimiter ';' --column first_name="Given name" --column attributes.team=Team --on-conflict update`,
    'export --address old:50051 | roster import - --format ndjson --on-conflict skip',
  ])
    .argument('<file>', 'its path, or - for the standard input')
    .addOption(formatOption('by the extension: .csv, .ndjson, .jsonl'))
    .option(
      '--delimiter <character>',
      'what is between the cells of CSV, or the word tab (default: a comma)',
      parseDelimiter,
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
    .option('--no-progress', 'says nothing on the way')
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

async function importFile(client: Client, context: Context, file: string, options: ImportOptions): Promise<void> {
  const { terminal, signal } = context;
  const { keepGoing, dryRun, rejected, json } = options;
  const format = formatOf(file, options.format);
  if (format === undefined) throw new UsageError('Say what the file is: --format csv or --format ndjson.');
  if (format === 'ndjson' && options.delimiter !== undefined) throw new UsageError('--delimiter is for CSV.');
  if (rejected !== undefined && (!keepGoing || dryRun)) {
    throw new UsageError('--rejected goes with --keep-going and without --dry-run.');
  }
  const source = await openText(file, terminal, signal);
  const users = format === 'csv' ? readCsvUsers(source.text, options) : readNdjsonUsers(source.text, options);
  await requireAnswer(client, signal);

  const run = createImportRun(client, users, options, signal);
  try {
    using _progress = showsProgress(terminal, options)
      ? showProgress(terminal, () => ({
          doing: run.doing,
          rows: run.rows,
          position: source.bytesRead(),
          total: source.bytesTotal,
        }))
      : undefined;
    if (rejected === undefined) await run.whole();
    else await run.inParts(rejected);
  } catch (error) {
    const state = run.stateAfter(error);
    const message = error instanceof Interrupted ? `Interrupted: ${state.message}` : capitalize(state.message);
    // The error itself counts, whether anybody reads this or not.
    await print(terminal.stderr, json ? `${safeJson({ ...state, message })}\n` : `${message}\n`).catch(() => {});
    throw error;
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

// After these the server may have done what it was asked, and the answer was lost.
const unclear: readonly StatusName[] = ['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED', 'UNKNOWN', 'INTERNAL'];

function createImportRun(
  client: Client,
  { rows, formatRejected }: UserFile,
  options: ImportOptions,
  signal: AbortSignal,
) {
  const { onConflict, keepGoing, dryRun, rejected: rejectedFile } = options;
  const report = createImportReport();
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
  async function inParts(path: string): Promise<void> {
    await using file = await openRejectedFile(path);
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
    if (!isUnknown) return { state: 'NOTHING_WRITTEN', message: 'nothing was written.' };
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

async function* partsOf(rows: AsyncIterable<Row>): AsyncGenerator<Row[]> {
  let part: Row[] = [];
  let length = 0;
  for await (const row of rows) {
    part.push(row);
    for (const piece of [row.original].flat()) length += piece.length;
    if (part.length >= partRowsMax || length >= partLengthMax) {
      yield part;
      part = [];
      length = 0;
    }
  }
  if (part.length > 0) yield part;
}
