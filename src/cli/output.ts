/** The --output flag: the formats of users on the standard output. */
import { type Command, Option } from 'commander';
import type { User } from '../client/index.js';
import { textFields } from '../fields.js';
import { safeJson, safeText } from '../safe-text.js';
import type { Context } from './client-command.js';
import { UsageError } from './failure.js';
import { print } from './terminal.js';
import { createTable } from './text.js';
import { csvHeader, formatCsvUsers } from './user-csv.js';
import { formatNdjsonUsers } from './user-ndjson.js';

const formats = ['table', 'json', 'yaml', 'csv', 'id'] as const;
export type OutputFormat = (typeof formats)[number];

export interface OutputOptions {
  json?: boolean;
  output?: OutputFormat;
}

export function addOutputFlag(command: Command): Command {
  const option = new Option('-o, --output <format>', 'the format of the output (default: table)');
  return command.addOption(option.choices(formats).helpGroup('Output:'));
}

export function outputOf({ json, output }: OutputOptions): OutputFormat {
  if (json && output !== undefined && output !== 'json') {
    throw new UsageError('--json means --output json. Pass only one of them.');
  }
  return json ? 'json' : (output ?? 'table');
}

/** Whether errors must be JSON. Reads the arguments, because commander may be what refuses them. */
export function wantsJson(args: readonly string[]): boolean {
  return args.some(
    (arg, index) =>
      ['--json', '--output=json', '-ojson'].includes(arg) ||
      (['-o', '--output'].includes(arg) && args[index + 1] === 'json'),
  );
}

/** Prints one user. As a table, that is a line for each field that is set. */
export async function printUser(context: Context, user: User | undefined, options: OutputOptions): Promise<void> {
  if (user === undefined) throw new Error('The server returned no user.');
  await print(context.terminal.stdout, await formatUser(context, user, outputOf(options)));
}

async function formatUser({ styles }: Context, user: User, format: OutputFormat): Promise<string> {
  if (format === 'json') return `${safeJson(user, 2)}\n`;
  if (format === 'yaml') return (await loadYaml())(user);
  if (format === 'csv') return csvHeader + formatCsvUsers([user]);
  if (format === 'id') return `${user.id}\n`;
  const lines = [
    ['Id', user.id],
    ['Name', user.displayName],
    ...textFields.map(({ label, name }) => [label, user[name]] as const),
    ['Attributes', user.attributes === undefined ? '' : JSON.stringify(user.attributes)],
    ['Created', user.createTime?.toISOString() ?? ''],
    ['Updated', user.updateTime?.toISOString() ?? ''],
    ['Etag', user.etag],
  ] as const;
  const set = lines.filter(([, value]) => value !== '');
  return set.map(([label, value]) => `${styles.stdout('bold', label.padEnd(12))}${safeText(value)}\n`).join('');
}

export interface ListFormatter {
  /** Returns whole lines for the next users. */
  format(users: readonly User[]): string;
  /** The output if there are no users. */
  readonly empty: string;
}

export async function createListFormatter({ terminal, styles }: Context, format: OutputFormat): Promise<ListFormatter> {
  if (format === 'json') return { format: formatNdjsonUsers, empty: '' };
  if (format === 'yaml') return { format: await loadYaml(), empty: '[]\n' };
  if (format === 'id') return { format: (users) => users.map(({ id }) => `${id}\n`).join(''), empty: '' };
  if (format === 'csv') {
    let header = csvHeader;
    const formatNext = (users: readonly User[]) => {
      const text = header + formatCsvUsers(users);
      header = '';
      return text;
    };
    return { format: formatNext, empty: csvHeader };
  }
  const titles = [
    { title: 'ID', whole: true },
    { title: 'NAME' },
    { title: 'EMAIL' },
    { title: 'CREATED', whole: true },
  ];
  const table = createTable(titles, terminal.stdout.columns, (line) => styles.stdout('bold', line));
  const cellsOf = ({ id, displayName, email, createTime }: User) => [
    id,
    displayName,
    email,
    createTime?.toISOString().slice(0, 10) ?? '',
  ];
  return { format: (users) => table(users.map(cellsOf)), empty: '' };
}

/** Imported only if it is needed, because most commands do not need it. */
async function loadYaml() {
  return (await import('./user-yaml.js')).formatYaml;
}
