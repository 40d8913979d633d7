/** `roster export`: writes every user of one snapshot, to a resumable file or to the standard output. */
import type { Command } from 'commander';
import { type Client, RosterError, type User } from '../client/index.js';
import { commandName } from '../config/package-root.js';
import { safeJson } from '../safe-text.js';
import { exportColumns } from '../user-files/columns.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { type ExportFile, openExportFile, readProgress, resumePath, validateExportPath } from './export-file.js';
import { UsageError } from './failure.js';
import { filterHelp } from './list.js';
import { count, showProgress, showsProgress } from './progress.js';
import { replaceFile } from './saved-file.js';
import { Interrupted, OutputClosed, print, type Terminal } from './terminal.js';
import { csvHeader, formatCsvUsers } from './user-csv.js';
import { formatOf, formatOption, type UserFormat } from './user-file.js';
import { formatNdjsonUsers } from './user-ndjson.js';

// If the server needs longer to count the users, the bar has no total.
const countMsMax = 3_000;

type ExportOptions = ClientCommandOptions & {
  format?: UserFormat;
  filter?: string;
  resume?: boolean;
  watchToken?: string;
  progress: boolean;
};

const help = `
All users come from one snapshot, in the order of their ids. NDJSON has one user on each line, as protobuf JSON. CSV has
the columns
  ${exportColumns.join(', ')},
with attributes as JSON. Both formats can be imported. Cells are written unchanged: a spreadsheet may read a cell that begins
with =, +, - or @ as a formula, so let it import such columns as text. Only a text such as '=1 gets a second apostrophe,
because an import removes the apostrophe that spreadsheets need before =, +, - or @.

An existing FILE is overwritten. FILE.resume exists while FILE is incomplete. After an interruption, --resume continues
from a new snapshot. At the end, the command prints a token to the standard error output, or writes it to the file of
--watch-token. "roster watch --resume-token" with this token shows every change since the first snapshot.`;

export function createExportCommand(context: Context): Command {
  return createClientCommand('export', 'Write all users, or those that match a filter, as CSV or NDJSON.', [
    'export users.csv',
    'export users.csv --resume',
    `export --filter 'attributes.department == "ops"' --watch-token ops.token > ops.ndjson`,
  ])
    .argument('[file]', 'the path of the file (default: the standard output)')
    .addOption(formatOption('by the extension, else ndjson'))
    .option('--filter <expression>', 'a CEL expression that users must match')
    .option('--resume', 'continue an interrupted export into the file, with its format and filter')
    .option('--watch-token <file>', 'write the token for a later watch to this file')
    .option('--no-progress', 'do not show the progress')
    .addHelpText('after', `${filterHelp}\n${help}`)
    .action((file: string | undefined, options: ExportOptions) =>
      withClient(context, options, async (client) => {
        if (options.json && options.format === 'csv') throw new UsageError('--json cannot be used with --format csv.');
        if (file === undefined || file === '-') await exportToOutput(client, context, options);
        else await exportToFile(client, context, file, options);
      }),
    );
}

/** Creates the function that formats each batch. The first batch of CSV begins with the header. */
function createFormatter(format: UserFormat, isBegun: boolean): (users: readonly User[]) => string {
  if (format === 'ndjson') return formatNdjsonUsers;
  let header = isBegun ? '' : csvHeader;
  return (users) => {
    const text = header + formatCsvUsers(users);
    header = '';
    return text;
  };
}

async function exportToOutput(client: Client, { terminal, signal }: Context, options: ExportOptions): Promise<void> {
  if (options.resume) throw new UsageError('--resume needs the path of a file.');
  const { filter = '', format = 'ndjson' } = options;
  const formatUsers = createFormatter(format, false);
  let users = 0;
  let watchToken = '';
  try {
    // On a terminal, a bar would mix with the users.
    const isShown = showsProgress(terminal, options) && terminal.stdout.columns === undefined;
    const total = await countUsers(client, filter, isShown && terminal.stderr.isTTY === true, signal);
    using _progress = isShown ? showProgress(terminal, () => progressOf(users, total)) : undefined;
    for await (const batch of client.exportAllUsers({ filter }, { signal }).batches()) {
      const text = formatUsers(batch.users);
      if (text !== '') await print(terminal.stdout, text);
      users += batch.users.length;
      watchToken = batch.watchToken;
    }
  } catch (error) {
    if (!(error instanceof OutputClosed)) {
      await printNote(terminal, options, error, `${count(users)} users were written. The export is incomplete.`);
    }
    throw error;
  }
  await writeWatchToken(terminal, options, watchToken);
}

async function exportToFile(client: Client, context: Context, path: string, options: ExportOptions): Promise<void> {
  const { terminal, signal } = context;
  await validateExportPath(path);
  const interrupted = await readProgress(path);
  if (interrupted !== undefined && !options.resume) {
    throw new UsageError(
      `An export into this file was interrupted. Pass --resume to continue, or delete ${resumePath(path)} to start again.`,
    );
  }
  if (interrupted === undefined && options.resume)
    throw new UsageError(`There is nothing to resume: ${resumePath(path)} does not exist.`);
  const requested = options.json ? 'ndjson' : options.format;
  const { filter = interrupted?.filter ?? '' } = options;
  const format = requested ?? interrupted?.format ?? formatOf(path, undefined) ?? 'ndjson';
  if (interrupted !== undefined && (interrupted.filter !== filter || interrupted.format !== format)) {
    throw new UsageError(
      `The interrupted export has --format ${interrupted.format} and ${interrupted.filter === '' ? 'no filter' : 'another filter'}.`,
    );
  }

  const start = interrupted ?? { format, filter, resumeToken: '', bytes: 0, users: 0 };
  const formatUsers = createFormatter(format, start.bytes > 0);
  const isShown = showsProgress(terminal, options);
  const total = await countUsers(client, filter, isShown && terminal.stderr.isTTY === true, signal);
  let file: ExportFile | undefined;
  let watchToken = '';
  const usersDone = () => file?.progress.users ?? start.users;
  try {
    using _progress = isShown
      ? showProgress(terminal, () => progressOf(usersDone(), total), { rows: start.users, position: start.users })
      : undefined;
    const { resumeToken } = start;
    for await (const batch of client.exportAllUsers({ filter, resumeToken }, { signal }).batches()) {
      // Opened only now, so that an early failure, such as an invalid filter, leaves an existing file unchanged.
      file ??= await openExportFile(path, start);
      await file.append(formatUsers(batch.users), batch.users.length, batch.resumeToken);
      watchToken = batch.watchToken;
    }
    await file?.finish();
  } catch (error) {
    if (file !== undefined) {
      await file.save();
      const text = `${count(usersDone())} users are in the file. Run the same command with --resume to continue.`;
      await printNote(terminal, options, error, text);
    }
    throw error;
  } finally {
    await file?.[Symbol.asyncDispose]();
  }
  await writeWatchToken(terminal, options, watchToken);
}

function progressOf(users: number, total: number | undefined) {
  return { activity: 'Exporting', rows: users, position: users, total };
}

/** Requests the approximate total. Skipped unless a bar needs it, because counting is work for the server. */
async function countUsers(client: Client, filter: string, isNeeded: boolean, signal: AbortSignal) {
  if (!isNeeded) return undefined;
  const request = { filter, pageSize: 1, includeTotalSize: true };
  try {
    return (await client.listUsers(request, { signal, deadlineMs: countMsMax, attemptsMax: 1 })).totalSize;
  } catch (error) {
    // The bar works without a total, and the export reports any other problem.
    if (error instanceof RosterError) return undefined;
    throw error;
  }
}

async function printNote(terminal: Terminal, { json }: ExportOptions, error: unknown, text: string): Promise<void> {
  const message = error instanceof Interrupted ? `Interrupted: ${text}` : text;
  // A failure to print this must not hide the error itself.
  await print(terminal.stderr, json ? `${safeJson({ message })}\n` : `${message}\n`).catch(() => {});
}

async function writeWatchToken(terminal: Terminal, options: ExportOptions, watchToken: string): Promise<void> {
  if (options.watchToken !== undefined) {
    try {
      await replaceFile(options.watchToken, `${watchToken}\n`);
      return;
    } catch (error) {
      // Print it instead. Without the token, the export would have to be repeated.
      await writeWatchToken(terminal, { ...options, watchToken: undefined }, watchToken).catch(() => {});
      throw error;
    }
  }
  if (options.json) await print(terminal.stderr, `${safeJson({ watchToken })}\n`);
  else await print(terminal.stderr, `Changes since then: ${commandName()} watch --resume-token '${watchToken}'\n`);
}
