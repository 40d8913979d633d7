/**
 * `roster export`: writes every user of one snapshot, to a file that can be gone on with or to the standard output.
 */
import type { Command } from 'commander';
import { type Client, RosterError, type User } from '../client/index.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { type ExportFile, openExportFile, readProgress, refuseSpecialFile, resumePath } from './export-file.js';
import { UsageError } from './failure.js';
import { count, showProgress, showsProgress } from './progress.js';
import { replaceFile } from './saved-file.js';
import { Interrupted, OutputClosed, print, type Terminal } from './terminal.js';
import { safeJson } from './text.js';
import { csvHeader, formatCsvUsers } from './user-csv.js';
import { formatOf, formatOption, type UserFormat } from './user-file.js';
import { formatNdjsonUsers } from './user-ndjson.js';

// Longer nobody should wait for a bar's end.
const countMsMax = 3_000;

type ExportOptions = ClientCommandOptions & {
  format?: UserFormat;
  filter?: string;
  resume?: boolean;
  watchToken?: string;
  progress: boolean;
};

const help = `
Users come in the order of their ids, all from one snapshot. NDJSON is one user on each line, as protobuf maps them to
JSON. The columns of CSV are id, first_name, last_name, email, profile_image_url, attributes (as JSON), display_name,
create_time, update_time and etag. Both can be imported. Cells are written as they are: a spreadsheet may take one that begins
with =, +, - or @ for a formula, so let it import such columns as text.

A FILE that exists is overwritten. Until it is whole there is FILE.resume beside it; after an interruption --resume goes on
from there, from a new snapshot. At the end comes a token on the standard error output, or in the file of --watch-token:
"roster watch --resume-token" with it shows every change since the snapshot, since the first one where there were several.`;

export function createExportCommand(context: Context): Command {
  return createClientCommand('export', 'Write all users, or those that match, as CSV or NDJSON.', [
    'export users.csv',
    'export users.csv --resume',
    `export --filter 'attributes.department == "ops"' --watch-token ops.token > ops.ndjson`,
  ])
    .argument('[file]', 'its path (default: the standard output)')
    .addOption(formatOption('by the extension, else ndjson'))
    .option('--filter <expression>', 'a CEL expression that users must match')
    .option('--resume', 'goes on with an export into the file that was interrupted, with its format and filter')
    .option('--watch-token <file>', 'where the token goes that a watch can start from')
    .option('--no-progress', 'says nothing on the way')
    .addHelpText('after', help)
    .action((file: string | undefined, options: ExportOptions) =>
      withClient(context, options, async (client) => {
        if (options.json && options.format === 'csv') throw new UsageError('--json is no CSV.');
        if (file === undefined || file === '-') await exportToOutput(client, context, options);
        else await exportToFile(client, context, file, options);
      }),
    );
}

/** What both ways write of a batch; the header of CSV stands before the first. */
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
  if (options.resume) throw new UsageError('--resume needs a file to go on with.');
  const { filter = '', format = 'ndjson' } = options;
  const formatUsers = createFormatter(format, false);
  let users = 0;
  let watchToken = '';
  try {
    // Where a person reads the users themselves, a bar would be in their way.
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
      await say(terminal, options, error, `${count(users)} users were written, not all.`);
    }
    throw error;
  }
  await tellWatchToken(terminal, options, watchToken);
}

async function exportToFile(client: Client, context: Context, path: string, options: ExportOptions): Promise<void> {
  const { terminal, signal } = context;
  await refuseSpecialFile(path);
  const before = await readProgress(path);
  if (before !== undefined && !options.resume) {
    throw new UsageError(
      `An export into this file was interrupted: --resume goes on with it. To begin again, delete ${resumePath(path)}.`,
    );
  }
  if (before === undefined && options.resume)
    throw new UsageError(`There is nothing to resume: no ${resumePath(path)}.`);
  const asked = options.json ? 'ndjson' : options.format;
  const { filter = before?.filter ?? '' } = options;
  const format = asked ?? before?.format ?? formatOf(path, undefined) ?? 'ndjson';
  if (before !== undefined && (before.filter !== filter || before.format !== format)) {
    throw new UsageError(
      `The export was begun with --format ${before.format} and ${before.filter === '' ? 'no filter' : 'another filter'}.`,
    );
  }

  const start = before ?? { format, filter, resumeToken: '', bytes: 0, users: 0 };
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
      // Not before: what fails at once, such as a filter that is none, leaves everything as it was.
      file ??= await openExportFile(path, start);
      await file.append(formatUsers(batch.users), batch.users.length, batch.resumeToken);
      watchToken = batch.watchToken;
    }
    await file?.finish();
  } catch (error) {
    if (file !== undefined) {
      await file.save();
      const text = `${count(usersDone())} users are in the file. The same command with --resume goes on.`;
      await say(terminal, options, error, text);
    }
    throw error;
  } finally {
    await file?.[Symbol.asyncDispose]();
  }
  await tellWatchToken(terminal, options, watchToken);
}

function progressOf(users: number, total: number | undefined) {
  return { doing: 'Exporting', rows: users, position: users, total };
}

/** How many there will be, about; only asked where a bar needs it, because the server has to count. */
async function countUsers(client: Client, filter: string, isNeeded: boolean, signal: AbortSignal) {
  if (!isNeeded) return undefined;
  const request = { filter, pageSize: 1, includeTotalSize: true };
  try {
    return (await client.listUsers(request, { signal, deadlineMs: countMsMax, attemptsMax: 1 })).totalSize;
  } catch (error) {
    // A bar without an end is no reason to export nothing; what else is wrong the export will say.
    if (error instanceof RosterError) return undefined;
    throw error;
  }
}

async function say(terminal: Terminal, { json }: ExportOptions, error: unknown, text: string): Promise<void> {
  const message = error instanceof Interrupted ? `Interrupted: ${text}` : text;
  // The error that follows counts, whether anybody reads this or not.
  await print(terminal.stderr, json ? `${safeJson({ message })}\n` : `${message}\n`).catch(() => {});
}

async function tellWatchToken(terminal: Terminal, options: ExportOptions, watchToken: string): Promise<void> {
  if (options.watchToken !== undefined) {
    try {
      await replaceFile(options.watchToken, `${watchToken}\n`);
      return;
    } catch (error) {
      // Else all would have to be exported again for it.
      await tellWatchToken(terminal, { ...options, watchToken: undefined }, watchToken).catch(() => {});
      throw error;
    }
  }
  if (options.json) await print(terminal.stderr, `${safeJson({ watchToken })}\n`);
  else await print(terminal.stderr, `Changes since then: roster watch --resume-token '${watchToken}'\n`);
}
