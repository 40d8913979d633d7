/**
 * `roster watch`: shows the directory's changes until it is interrupted, across whatever happens to the connection.
 */
import { access, constants, readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { type Client, type RosterError, type UserChange, UserChange_Type } from '../client/index.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { UsageError } from './failure.js';
import { replaceFile } from './saved-file.js';
import { Interrupted, print } from './terminal.js';
import { safeJson, safeText } from './text.js';

type WatchOptions = ClientCommandOptions & { existing?: boolean; resumeToken?: string; state?: string };

const help = `
A line is the time, what happened, the id, the name and the email; of a user who is gone only the id is known.

With --json each change is a line, {"type":"TYPE_CREATED","user":{…},"changeTime":"…"}, and behind those that came
together is one like {"caughtUp":true,"resumeToken":"…"}: all up to that token has been shown. It also comes about every
10 s where nothing happens. {"startedOver":true} says that the changes since the last token are no longer kept, or that
the connection broke among the existing users: all existing users follow, and whoever is not among them before
"caughtUp" is gone.

A lost connection is made again and nothing is missed; the last changes may come twice, also after --state and
--resume-token.`;

export function createWatchCommand(context: Context): Command {
  return createClientCommand('watch', 'Show changes of users as they happen.', [
    'watch',
    'watch --existing --json | my-search-index',
    'watch --existing --state users.token',
  ])
    .option('--existing', 'all existing users first, where no token says where to start')
    .option('--resume-token <token>', 'starts behind this token of an earlier watch or of an export')
    .option('--state <file>', 'keeps the token of what was shown in a file, and starts from it where it exists')
    .addHelpText('after', help)
    .action((options: WatchOptions) => withClient(context, options, (client) => watch(client, context, options)));
}

async function watch(client: Client, { terminal, signal }: Context, options: WatchOptions): Promise<void> {
  const { existing: includeExisting, state, json } = options;
  let resumeToken = (await readToken(state)) || options.resumeToken || '';
  const isWaiting = { caughtUp: includeExisting === true && resumeToken === '', connection: false };

  const tell = (text: string) =>
    // Nobody has to read this.
    void terminal.stderr.write(json ? `${safeJson({ message: text })}\n` : `${safeText(text)}\n`);
  // Not each attempt: an outage would fill the screen.
  const onDisconnect = ({ code, reason }: RosterError) => {
    if (!isWaiting.connection) tell(`Not connected (${reason ?? code}). Trying again.`);
    isWaiting.connection = true;
  };

  try {
    for await (const message of client.followUsers({ resumeToken, includeExisting, signal, onDisconnect })) {
      const { changes, startedOver, caughtUp } = message;
      if (isWaiting.connection) tell('Connected again.');
      isWaiting.connection = false;
      if (startedOver) {
        isWaiting.caughtUp = true;
        tell('Started over: all existing users follow.');
      }
      const lines = json
        ? [
            ...(startedOver ? [{ startedOver }] : []),
            ...changes.map(toJson),
            { caughtUp, resumeToken: message.resumeToken },
          ].map((line) => safeJson(line))
        : changes.map(toLine);
      if (lines.length > 0) await print(terminal.stdout, `${lines.join('\n')}\n`);
      if (caughtUp && isWaiting.caughtUp) {
        isWaiting.caughtUp = false;
        tell('Caught up: changes follow as they happen.');
      }
      // Only now, so that what was not shown comes again.
      if (message.resumeToken !== '' && message.resumeToken !== resumeToken) {
        resumeToken = message.resumeToken;
        if (state !== undefined) await replaceFile(state, `${resumeToken}\n`);
      }
    }
  } catch (error) {
    if (error instanceof Interrupted && state === undefined && resumeToken !== '') {
      // Behind the terminal's own ^C.
      if (terminal.stderr.isTTY) terminal.stderr.write('\n');
      const text = json ? safeJson({ resumeToken }) : `Go on with: roster watch --resume-token '${resumeToken}'`;
      await print(terminal.stderr, `${text}\n`).catch(() => {});
    }
    throw error;
  }
}

async function readToken(path: string | undefined): Promise<string> {
  if (path === undefined) return '';
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    // Found out now, and not when the first changes have been shown.
    const isNew = code === 'ENOENT' && (await canWrite(dirname(resolve(path))));
    if (isNew) return '';
    throw new UsageError(`--state must be the path of a file that can be read and written (${code}).`);
  }
}

function canWrite(folder: string): Promise<boolean> {
  return access(folder, constants.W_OK).then(
    () => true,
    () => false,
  );
}

function toJson({ type, user, changeTime }: UserChange): object {
  return { type: UserChange_Type[type], user, changeTime };
}

function toLine({ type, user, changeTime }: UserChange): string {
  const word = (UserChange_Type[type] ?? '').replace('TYPE_', '').toLowerCase();
  const parts = [(changeTime ?? user?.updateTime)?.toISOString() ?? '', word.padEnd(8), user?.id ?? ''];
  if (user !== undefined && user.email !== '') parts.push(`${user.displayName} <${user.email}>`);
  return safeText(parts.join('  '));
}
