/** `roster changes`: shows who changed a user, and when. */
import type { Command } from 'commander';
import { type Client, type UserChange, UserChange_Type } from '../client/index.js';
import { safeJson } from '../safe-text.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { findUser, idOrEmailHelp, isEmail, validateIdOrEmail } from './find-user.js';
import { parseCount } from './list.js';
import { print } from './terminal.js';
import { createTable } from './text.js';

type ChangesOptions = ClientCommandOptions & { limit: number };

// The maximum of the contract.
const pageSizeMax = 1000;

const help = `
The newest change is first. The request id is the x-request-id of the call that made the change. Changes are kept for
CHANGES_KEPT_HOURS, also those of a deleted user, which only the id finds.

With --json, each change is a line: {"type":"TYPE_UPDATED","changeTime":"…","actor":"key:billing","requestId":"…"}.`;

export function createChangesCommand(context: Context): Command {
  return createClientCommand('changes', 'Show who changed a user, and when.', [
    'changes ada@example.com',
    'changes 0198c0de-0000-7000-8000-000000000000 --limit 0 --json',
  ])
    .argument('<id or email>', idOrEmailHelp)
    .option('--limit <number>', 'the maximum number of changes, 0 for all', parseCount, 50)
    .addHelpText('after', help)
    .action((idOrEmail: string, options: ChangesOptions) =>
      withClient(context, options, (client) => showChanges(client, context, idOrEmail, options)),
    );
}

async function showChanges(
  client: Client,
  context: Context,
  idOrEmail: string,
  { limit, json }: ChangesOptions,
): Promise<void> {
  const { terminal, styles, signal } = context;
  validateIdOrEmail(idOrEmail);
  // A deleted user has no email to be found by, but its id still has changes.
  const { id } = isEmail(idOrEmail) ? await findUser(client, context, idOrEmail) : { id: idOrEmail };
  const titles = [
    { title: 'TIME', whole: true },
    { title: 'CHANGE', whole: true },
    { title: 'ACTOR' },
    { title: 'REQUEST ID' },
  ];
  const table = createTable(titles, terminal.stdout.columns, (line) => styles.stdout('bold', line));
  const format = (changes: readonly UserChange[]) =>
    json ? changes.map((change) => `${safeJson(toJson(change))}\n`).join('') : table(changes.map(toCells));
  let left = limit === 0 ? Number.POSITIVE_INFINITY : limit;
  let shown = 0;
  let pageToken = '';
  do {
    const page = await client.listUserChanges({ id, pageSize: Math.min(left, pageSizeMax), pageToken }, { signal });
    if (page.changes.length > 0) await print(terminal.stdout, format(page.changes));
    shown += page.changes.length;
    left -= page.changes.length;
    pageToken = page.nextPageToken;
  } while (left > 0 && pageToken !== '');

  // The standard output has only changes.
  const more = pageToken !== '';
  if (json) {
    if (more) await print(terminal.stderr, `${safeJson({ more })}\n`);
    return;
  }
  if (shown === 0) await print(terminal.stderr, 'No changes.\n');
  if (more) await print(terminal.stderr, 'There are more. Pass --limit 0 to show all.\n');
}

function toJson({ type, changeTime, actor, requestId }: UserChange): object {
  return { type: UserChange_Type[type], changeTime, actor, requestId };
}

function toCells({ type, changeTime, actor, requestId }: UserChange): string[] {
  return [changeTime?.toISOString() ?? '', changeWord(type), actor, requestId];
}

/** Such as `created`. */
export function changeWord(type: UserChange_Type): string {
  return (UserChange_Type[type] ?? '').replace('TYPE_', '').toLowerCase();
}
