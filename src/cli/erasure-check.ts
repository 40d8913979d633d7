/** `roster erasure-check`: shows that no table contains the email of an erased user. */
import { text } from 'node:stream/consumers';
import { type Command, Option } from 'commander';
import { type Flags, parseServerConfig } from '../config/parse.js';
import { serverSettings } from '../config/settings.js';
import { validateLegacyEmail } from '../model/email.js';
import { safeJson } from '../safe-text.js';
import type { Context } from './client-command.js';
import { CommandFailure, exitCodes, UsageError } from './failure.js';
import { createSettingsCommand } from './settings-command.js';
import { print } from './terminal.js';
import { createTable } from './text.js';

interface CheckFlags extends Flags {
  json?: boolean;
  output?: 'table' | 'json';
}

/** The places that no statement can read. */
const notSearched = [
  'the write-ahead log, and standbys and archives that it was sent to',
  'the space of deleted and replaced rows, until a vacuum removes them',
  'backups, and copies of the database',
  'temporary tables and files of other sessions, such as of a running import',
  'other schemas and databases, and large objects',
  'values that are encrypted, compressed or hashed',
  'names and other data of the person without the email',
];

const help = `
The command reads every table in Roster's schema once, and looks in every column for the email in all spellings that count
as the same, also inside longer texts. It prints how many rows contain it. The exit code is 0 if nothing does, and 1
otherwise. It cannot find names or other data of a user whose email is not next to them.

Other users of this machine and the history of the shell can see an email in an argument. With -, the command reads it
from the standard input. The server's log never contains it.

Examples:
  roster erasure-check - < email.txt
  roster erasure-check ada@example.com --json`;

export function createErasureCheckCommand(context: Context): Command {
  const description = 'Check that no table of the database contains an email, for example after its user was erased.';
  return createSettingsCommand('erasure-check', description, serverSettings)
    .usage('EMAIL|- [settings]')
    .argument('<email>', 'the email, or - to read it from the standard input')
    .optionsGroup('Options:')
    .addOption(new Option('-o, --output <format>', 'the format of the output').choices(['table', 'json']))
    .option('--json', 'the same as --output json')
    .addHelpText('after', help)
    .action((email: string, flags: CheckFlags) => check(context, email, flags));
}

async function check({ terminal, signal }: Context, argument: string, flags: CheckFlags): Promise<void> {
  const config = parseServerConfig(terminal.env, flags, { serves: false });
  const email = argument === '-' ? (await text(terminal.stdin)).trim() : argument;
  const violation = validateLegacyEmail(email);
  if (violation !== undefined) throw new UsageError(`The email ${violation}.`);
  // Imported here, so that client commands do not load it.
  const { searchForEmail } = await import('../maintenance.js');
  // The standard output has only the result.
  const logTo = { write: (line: string) => void terminal.stderr.write(line) };
  const search = await searchForEmail(config, email, { signal, logTo });
  const { tables, statistics, seesStatistics } = search;
  const found = tables.filter(({ rows }) => rows > 0);
  const isClean = found.length === 0 && statistics === 0;
  const { stdout } = terminal;
  if (flags.json || flags.output === 'json') {
    await print(stdout, `${safeJson({ isClean, ...search, notSearched }, 2)}\n`);
  } else {
    const table = createTable([{ title: 'TABLE', whole: true }, { title: 'FOUND' }, { title: 'DEAD ROWS' }], undefined);
    const rows = tables.map(({ table: name, rows, deadRows }) => [name, String(rows), String(deadRows)]);
    await print(stdout, table([...rows, ['(statistics)', seesStatistics ? String(statistics) : 'not visible', '']]));
    await print(stdout, `\nNot searched:\n${notSearched.map((place) => `- ${place}\n`).join('')}`);
  }
  if (!isClean) throw new CommandFailure(adviceOn(found.map(({ table }) => table)), exitCodes.unexpected);
}

function adviceOn(tables: readonly string[]): string {
  return tables.length > 0
    ? `The email is still in ${tables.join(', ')}. If its user exists, erase it with "roster delete".`
    : "The email is only in the planner's statistics. Let the owner of the tables run ANALYZE in the database.";
}
