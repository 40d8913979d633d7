/** `roster list`: prints users page by page, so that a long list does not fill the memory. */
import { type Command, InvalidArgumentError } from 'commander';
import type { Client, User } from '../client/index.js';
import { safeJson } from '../safe-text.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { print, type Terminal } from './terminal.js';
import { createTable } from './text.js';

// Large enough that round trips hardly matter, and small enough that users with long fields fit into one message.
const pageSizeDefault = 200;

type ListOptions = ClientCommandOptions & {
  filter?: string;
  query?: string;
  orderBy?: string;
  limit: number;
  pageSize: number;
  total?: boolean;
};

export function createListCommand(context: Context): Command {
  return createClientCommand('list', 'List users. With --json, one user on each line.', [
    'list --query "ada lovelace"',
    `list --filter 'attributes.department == "ops"' --order-by "last_name, create_time desc"`,
    'list --limit 0 --json > users.ndjson',
  ])
    .option('--filter <expression>', 'a CEL expression that users must match')
    .option('--query <words>', 'words that must occur in the first name, the last name or the email, or an id')
    .option(
      '--order-by <fields>',
      'create_time (default), update_time, first_name, last_name, email; add " desc" to reverse one',
    )
    .option('--limit <number>', 'the maximum number of users, 0 for all', parseCount, 50)
    .option('--page-size <number>', 'users that one call requests, at most 1000', parseCount, pageSizeDefault)
    .option('--total', 'also print the number of matches to the standard error output')
    .action((options: ListOptions) => withClient(context, options, (client) => list(client, context, options)));
}

async function list(client: Client, { terminal, signal }: Context, options: ListOptions): Promise<void> {
  const { filter, query, orderBy, limit, json } = options;
  const show = json ? showJson : createRows(terminal);
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
    if (page.users.length > 0) await print(terminal.stdout, show(page.users));
    shown += page.users.length;
    left -= page.users.length;
    pageToken = page.nextPageToken;
  } while (left > 0 && pageToken !== '');

  // Everything below goes to the standard error output, because the standard output has only users.
  const more = pageToken !== '';
  if (json) {
    // Protobuf JSON writes 64-bit numbers as strings.
    if (more || options.total)
      await print(terminal.stderr, `${safeJson({ more, totalSize: totalSize?.toString() })}\n`);
    return;
  }
  if (totalSize !== undefined) await print(terminal.stderr, `${shown} of ${totalSize} users.\n`);
  else if (shown === 0) await print(terminal.stderr, 'No users.\n');
  if (more) await print(terminal.stderr, 'There are more. Pass --limit 0 to list all.\n');
}

function showJson(users: readonly User[]): string {
  return users.map((user) => `${safeJson(user)}\n`).join('');
}

function createRows(terminal: Terminal): (users: readonly User[]) => string {
  const columns = [
    { title: 'ID', whole: true },
    { title: 'NAME' },
    { title: 'EMAIL' },
    { title: 'CREATED', whole: true },
  ];
  const table = createTable(columns, terminal.stdout.columns);
  return (users) =>
    table(
      users.map((user) => [user.id, user.displayName, user.email, user.createTime?.toISOString().slice(0, 10) ?? '']),
    );
}

function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}
