/** `roster watch`: shows the directory's changes until it is interrupted, and reconnects if necessary. */
import { access, constants, readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { type Client, type RosterError, type UserChange, UserChange_Type } from '../client/index.js';
import { commandName } from '../config/package-root.js';
import { safeJson, safeText } from '../safe-text.js';
import { changeWord } from './changes.js';
import {
  type ClientCommandOptions,
  type Connection,
  type Context,
  createClientCommand,
  withClient,
} from './client-command.js';
import { ConnectionFailed, UsageError } from './failure.js';
import { replaceFile } from './saved-file.js';
import { Interrupted, print } from './terminal.js';

type WatchOptions = ClientCommandOptions & { existing?: boolean; resumeToken?: string; state?: string };

const help = `
Each line has the time, the type of change, the id, the name and the email, and who made the change if that is known. For
a deleted user, only the id is known.

With --json, each change is a line, {"type":"TYPE_CREATED","user":{…},"changeTime":"…","actor":"key:billing",
"requestId":"…"}. A line like {"caughtUp":true,"resumeToken":"…"} follows each group of changes, and means that all
changes up to that token have been shown. If nothing changes, such a line is written about every 10 s.
{"startedOver":true} means that the server no longer has the changes since the last token, or that the connection broke
before all existing users were shown. All existing users follow. Users that are not shown again before "caughtUp" have
been deleted.

The command reconnects after a lost connection and misses no change. After a reconnect, and after a start with --state or
--resume-token, it may show the last changes again.`;

export function createWatchCommand(context: Context): Command {
  return createClientCommand('watch', 'Show changes to users as they happen.', [
    'watch',
    'watch --existing --json | my-search-index',
    'watch --existing --state users.token',
  ])
    .option('--existing', 'show all existing users first, unless a token says where to start')
    .option('--resume-token <token>', 'start after this token of an earlier watch or an export')
    .option('--state <file>', 'keep the token of the last shown change in a file, and start there if it exists')
    .addHelpText('after', help)
    .action((options: WatchOptions) =>
      withClient(context, options, (client, connection) => watch(client, context, options, connection)),
    );
}

async function watch(
  client: Client,
  { terminal, signal }: Context,
  options: WatchOptions,
  { explain }: Connection,
): Promise<void> {
  const { existing: includeExisting, state, json } = options;
  let resumeToken = (await readToken(state)) || options.resumeToken || '';
  const isWaiting = { caughtUp: includeExisting === true && resumeToken === '', connection: false };

  const report = (text: string) =>
    // The watch continues even if this cannot be written.
    void terminal.stderr.write(json ? `${safeJson({ message: text })}\n` : `${safeText(text)}\n`);
  // Reported once for each outage, because a line for each attempt would fill the screen.
  const misconfigured = new AbortController();
  let hasConnected = false;
  let isReported = false;
  const onDisconnect = (error: RosterError) => {
    if (isWaiting.connection) return;
    isWaiting.connection = true;
    void explain(error).then((why) => {
      const isConnectioned = why instanceof ConnectionFailed;
      // After the first message, the settings are right, so the fault can only be temporary.
      if (isConnectioned && why.isLasting && !hasConnected) return misconfigured.abort(why);
      if (!isWaiting.connection || signal.aborted) return;
      isReported = true;
      report(`${isConnectioned ? why.message : `Not connected (${error.reason ?? error.code}).`} Trying again.`);
    });
  };

  try {
    const stop = AbortSignal.any([signal, misconfigured.signal]);
    for await (const message of client.followUsers({ resumeToken, includeExisting, signal: stop, onDisconnect })) {
      hasConnected = true;
      const { changes, startedOver, caughtUp } = message;
      if (isReported) report('Connected again.');
      isReported = false;
      isWaiting.connection = false;
      if (startedOver) {
        isWaiting.caughtUp = true;
        report('Started over: all existing users follow.');
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
        report('Caught up: changes follow as they happen.');
      }
      // Saved only now, so that a change that was not shown is sent again.
      if (message.resumeToken !== '' && message.resumeToken !== resumeToken) {
        resumeToken = message.resumeToken;
        if (state !== undefined) await replaceFile(state, `${resumeToken}\n`);
      }
    }
  } catch (error) {
    if (error instanceof Interrupted && state === undefined && resumeToken !== '') {
      // The terminal has printed ^C on this line.
      if (terminal.stderr.isTTY) terminal.stderr.write('\n');
      const text = json
        ? safeJson({ resumeToken })
        : `To continue: ${commandName()} watch --resume-token '${resumeToken}'`;
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
    // Checked now, so that the command does not fail after it has shown the first changes.
    const isNew = code === 'ENOENT' && (await canWrite(dirname(resolve(path))));
    if (isNew) return '';
    throw new UsageError(`--state must be the path of a readable and writable file (${code}).`);
  }
}

function canWrite(folder: string): Promise<boolean> {
  return access(folder, constants.W_OK).then(
    () => true,
    () => false,
  );
}

function toJson({ type, user, changeTime, actor, requestId }: UserChange): object {
  const author = type === UserChange_Type.TYPE_EXISTING ? {} : { actor, requestId };
  return { type: UserChange_Type[type], user, changeTime, ...author };
}

function toLine({ type, user, changeTime, actor }: UserChange): string {
  const time = (changeTime ?? user?.updateTime)?.toISOString() ?? '';
  const parts = [time, changeWord(type).padEnd(8), user?.id ?? ''];
  if (user !== undefined && user.email !== '') parts.push(`${user.displayName} <${user.email}>`);
  if (actor !== '') parts.push(`by ${actor}`);
  return safeText(parts.join('  '));
}
