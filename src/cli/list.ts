/** `roster list`: prints users page by page, so that a long list does not fill the memory. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Client } from '../client/index.js';
import { safeJson } from '../safe-text.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { addOutputFlag, createListFormatter, type OutputOptions, outputOf } from './output.js';
import { print } from './terminal.js';

// Large enough that round trips hardly matter, and small enough that users with long fields fit into one message.
const pageSizeDefault = 200;

type ListOptions = ClientCommandOptions &
  OutputOptions &
  Selection & {
    orderBy?: string;
    limit: number;
    pageSize: number;
    total?: boolean;
  };

/** The flags of `list` and `count`. */
export interface Selection {
  filter?: string;
  query?: string;
}

export function addSelectionFlags(command: Command): Command {
  return command
    .option('--filter <expression>', 'a CEL expression that users must match')
    .option('--query <words>', 'words that must occur in the first name, the last name or the email, or an id');
}

/** The part of help that explains --filter. */
export const filterHelp = `
Filters (--filter) are CEL expressions:
  'attributes.department == "ops" && !attributes.retired'  by attributes
  'email.endsWith("@example.com") || last_name == ""'      by fields
  'create_time > timestamp("2026-01-01T00:00:00Z")'        by times
  'has(attributes.floor) && attributes.floor in [3, 4]'    by presence and lists`;

/** The part of help that explains the flags of addSelectionFlags. */
export const selectionHelp = `${filterHelp}

Searches (--query) find every word anywhere in the names or the email, regardless of case and accents:
  "ada love"    Ada Lovelace
  muller        Müller
  @example.com  every email with this text`;

const orderHelp = `

Orders (--order-by) are fields, separated by commas:
  last_name                     by last name
  "last_name, first_name desc"  by last name, then by first name from Z to A
  "create_time desc"            the newest users first
  "attributes.level desc"       by an attribute; users without it are last`;

export function createListCommand(context: Context): Command {
  const command = createClientCommand('list', 'List users.', [
    'list --query "ada lovelace"',
    `list --filter 'attributes.department == "ops"' --order-by "last_name, create_time desc"`,
    'list --limit 0 --output csv > users.csv',
    'list --query @example.com --limit 0 --output id',
  ]).addHelpText('after', selectionHelp + orderHelp);
  addSelectionFlags(command)
    .option(
      '--order-by <fields>',
      'create_time (default), update_time, first_name, last_name, email, attributes.KEY; add " desc" to reverse one',
    )
    .option('--limit <number>', 'the maximum number of users, 0 for all', parseCount, 50)
    .option('--page-size <number>', 'users that one call requests, at most 1000', parseCount, pageSizeDefault)
    .option('--total', 'also print the number of matches to the standard error output')
    .action((options: ListOptions) => withClient(context, options, (client) => list(client, context, options)));
  return addOutputFlag(command);
}

async function list(client: Client, context: Context, options: ListOptions): Promise<void> {
  const { terminal, signal } = context;
  const { filter, query, orderBy, limit } = options;
  const output = outputOf(options);
  const formatter = await createListFormatter(context, output);
  let left = limit === 0 ? Number.POSITIVE_INFINITY : limit;
  let pageToken = '';
  let shown = 0;
  let totalSize: number | undefined;
  do {
    const pageSize = Math.min(options.pageSize || pageSizeDefault, left);
    const includeTotalSize = options.total && shown === 0;
    const request = { filter, query, orderBy, pageSize, pageToken, includeTotalSize };
    const page = await client.listUsers(request, { signal });
    totalSize ??= page.totalSize;
    if (page.users.length > 0) await print(terminal.stdout, formatter.format(page.users));
    shown += page.users.length;
    left -= page.users.length;
    pageToken = page.nextPageToken;
  } while (left > 0 && pageToken !== '');

  if (shown === 0 && formatter.empty !== '') await print(terminal.stdout, formatter.empty);

  // Everything below goes to the standard error output, because the standard output has only users.
  const more = pageToken !== '';
  if (output === 'json') {
    // Protobuf JSON writes 64-bit numbers as strings.
    if (more || options.total)
      await print(terminal.stderr, `${safeJson({ more, totalSize: totalSize?.toString() })}\n`);
    return;
  }
  if (totalSize !== undefined) await print(terminal.stderr, `${shown} of ${totalSize} users.\n`);
  else if (shown === 0) await print(terminal.stderr, 'No users.\n');
  if (more) await print(terminal.stderr, 'There are more. Pass --limit 0 to list all.\n');
}

export function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
