/**
 * `roster edit`: opens the fields of a user in an editor, and updates those that were changed.
 *
 * The file has personal data. It is in a folder that only the user can read, because editors write more files next to it, and
 * the folder is removed however the command ends.
 */
import { isUtf8 } from 'node:buffer';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Command } from 'commander';
import { type Client, RosterError, type User } from '../client/index.js';
import { attributePath, textFields, writableFields } from '../fields.js';
import { isObject } from '../user-files/read-json.js';
import { type ClientCommandOptions, type Context, createClientCommand, withClient } from './client-command.js';
import { UsageError } from './failure.js';
import { findUser, idOrEmailHelp } from './find-user.js';
import { addOutputFlag, type OutputOptions, printUser } from './output.js';
import { Interrupted, print } from './terminal.js';
import { formatYaml, InvalidYaml, parseYaml } from './user-yaml.js';

const help = `
The editor is that of VISUAL or EDITOR, or else vi. It shows the fields as YAML. The command saves the changed fields after
the editor has closed. If the server refuses them, the editor opens again and shows the reason. To change nothing, close the
editor without a change, or empty the file. While the editor is open, Ctrl-C is for the editor.`;

export function createEditCommand(context: Context): Command {
  const command = createClientCommand('edit', 'Change a user in your editor.', [
    'edit ada@example.com',
    'edit 0198c0de-0000-7000-8000-000000000000',
  ])
    .argument('<id or email>', idOrEmailHelp)
    .addHelpText('after', help)
    .action((idOrEmail: string, options: ClientCommandOptions & OutputOptions) =>
      withClient(context, options, (client) => edit(client, context, idOrEmail, options)),
    );
  return addOutputFlag(command);
}

async function edit(client: Client, context: Context, idOrEmail: string, options: OutputOptions): Promise<void> {
  const command = editorOf(context);
  let user = await findUser(client, context, idOrEmail);
  await using file = await createEditedFile(context, command);
  let shown = formatFields(fieldsOf(user), []);
  let refused: string | undefined;
  while (true) {
    const bytes = await file.edit(shown);
    const text = bytes?.toString() ?? '';
    // An unchanged text after a refusal would be refused again.
    if (text.trim() === '' || withoutComments(text) === refused) {
      throw new Error('The edit was cancelled. Nothing was changed.');
    }
    try {
      if (bytes && !isUtf8(bytes)) throw new InvalidYaml('The file is not UTF-8. Save it in this encoding.');
      const edited = parseFields(text);
      const { changes, updateMask } = changesOf(user, edited);
      if (updateMask.length === 0) {
        await print(context.terminal.stderr, 'No changes.\n');
        return;
      }
      const request = { user: { ...changes, id: user.id, etag: user.etag }, updateMask };
      const response = await client.updateUser(request, { signal: context.signal });
      await printUser(context, response.user, options);
      return;
    } catch (error) {
      if (error instanceof RosterError && error.code === 'ABORTED') {
        // Somebody else has changed the user: show the current fields with the changes of this edit.
        const edited = parseFields(text);
        const before = user;
        user = await findUser(client, context, user.id);
        refused = undefined;
        const fields = {
          ...fieldsOf(user),
          ...changesOf(before, edited).changes,
          attributes: mergeAttributes(attributesOf(before), attributesOf(edited), attributesOf(user)),
        };
        const note =
          'Somebody else has changed the user. These are the current fields with your changes. Check and save them.';
        shown = formatFields(fields, [note]);
      } else {
        refused = withoutComments(text);
        shown = commentsOf([...problemsOf(error), ...instructions]) + refused;
      }
    }
  }
}

type Fields = Readonly<Record<string, unknown>>;

/** An empty field is shown too, so that it can be filled. */
function fieldsOf(user: User): Fields {
  return Object.fromEntries(writableFields.map(({ name }) => [name, user[name] ?? {}]));
}

const instructions = ['Save the file and close the editor to update the user. Empty the file to change nothing.'];

function formatFields(fields: Fields, notes: readonly string[]): string {
  return commentsOf([...notes, ...instructions]) + formatYaml(fields);
}

function commentsOf(lines: readonly string[]): string {
  return lines.map((line) => `# ${line.replaceAll('\n', '\n# ')}\n`).join('');
}

function withoutComments(text: string): string {
  return text.replace(/^(?:#.*\n)+/, '');
}

/** Throws an InvalidYaml with a problem that the user can correct. */
function parseFields(text: string): Fields {
  const value = parseYaml(text);
  if (!isObject(value)) throw new InvalidYaml('The file must have one field on each line, such as firstName: Ada.');
  const names: string[] = writableFields.map(({ name }) => name);
  for (const [name, field] of Object.entries(value)) {
    if (!names.includes(name)) throw new InvalidYaml(`There is no field ${name}. The fields are ${names.join(', ')}.`);
    if (name === 'attributes') {
      if (field !== null && !isObject(field)) throw new InvalidYaml('attributes must be keys with values.');
    } else if (field !== null && typeof field !== 'string') {
      throw new InvalidYaml(`${name} must be a text. Put it in quotes.`);
    }
  }
  return value;
}

/**
 * A field that is missing or null in the file is cleared. Attributes are changed key by key, because the user may have some
 * that the caller cannot see.
 */
function changesOf(user: User, edited: Fields): { changes: Partial<User>; updateMask: string[] } {
  const changed = textFields.filter(({ name }) => (edited[name] ?? '') !== user[name]);
  const texts = changed.map(({ name }) => [name, edited[name] ?? '']);
  const keys = changedKeys(attributesOf(user), attributesOf(edited));
  const attributes = Object.entries(attributesOf(edited)).filter(([key]) => keys.includes(key));
  return {
    changes: { ...Object.fromEntries(texts), attributes: Object.fromEntries(attributes) },
    updateMask: [...changed.map(({ path }) => path), ...keys.map(attributePath)],
  };
}

function attributesOf({ attributes }: { readonly attributes?: unknown }): Fields {
  return isObject(attributes) ? attributes : {};
}

function changedKeys(before: Fields, edited: Fields): string[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(edited)]);
  return [...keys].filter((key) => !isDeepStrictEqual(before[key], edited[key]));
}

/** Returns the current attributes with the keys that were edited. */
function mergeAttributes(before: Fields, edited: Fields, current: Fields): Fields {
  const merged = new Map(Object.entries(current));
  for (const key of changedKeys(before, edited)) {
    if (Object.hasOwn(edited, key)) merged.set(key, edited[key]);
    else merged.delete(key);
  }
  return Object.fromEntries(merged);
}

/** Rethrows errors that another edit cannot correct. */
function problemsOf(error: unknown): string[] {
  if (error instanceof InvalidYaml) return [`error: ${error.message}`];
  const isCorrectable =
    error instanceof RosterError &&
    (['INVALID_ARGUMENT', 'ALREADY_EXISTS'].includes(error.code) || error.reason === 'FIELD_FORBIDDEN');
  if (!isCorrectable) throw error;
  const { message, violations } = error;
  if (violations.length === 0) return [`error: ${message}`];
  return violations.map(({ field, description }) => {
    const path = field.replace(/^user\./, '');
    const name = writableFields.find((known) => known.path === path)?.name ?? path;
    return `error: ${name}: ${description}`;
  });
}

function editorOf({ terminal: { env, stdin } }: Context): string {
  const editor = env.VISUAL?.trim() || env.EDITOR?.trim();
  if (editor) return editor;
  if (!stdin.isTTY) throw new UsageError('Set VISUAL or EDITOR. Without a terminal, the command cannot open vi.');
  return 'vi';
}

interface EditedFile extends AsyncDisposable {
  /** Returns the content as the editor has left it, or undefined if the editor has removed the file. */
  edit(text: string): Promise<Buffer | undefined>;
}

async function createEditedFile(
  { terminal, signal, onKill, ignoreCtrlC }: Context,
  editor: string,
): Promise<EditedFile> {
  const folder = await mkdtemp(join(tmpdir(), 'roster-edit-'));
  const path = join(folder, 'user.yaml');
  const remove = () => rmSync(folder, { recursive: true, force: true });
  onKill(remove);
  const hangUp = () => {
    remove();
    terminal.exit(new Interrupted('SIGHUP').exitCode);
  };
  terminal.signals.on('SIGHUP', hangUp);
  return {
    async edit(text) {
      await writeFile(path, text, { mode: 0o600 });
      // By a shell, as git does it, because the variable can have flags: EDITOR='code --wait'. The editor replaces the shell,
      // so that stopping the child stops the editor. `env` also accepts EDITOR='NAME=value vim'.
      const child = spawn('sh', ['-c', `exec env ${editor} "$@"`, 'sh', path], { stdio: 'inherit' });
      const stop = () => child.kill();
      signal.addEventListener('abort', stop);
      // The terminal sends Ctrl-C to this process too, but it is for the editor: in Emacs, Ctrl-G sends the same signal.
      using _ = ignoreCtrlC();
      const [code, endedBy] = await once(child, 'close').finally(() => signal.removeEventListener('abort', stop));
      signal.throwIfAborted();
      if (endedBy === 'SIGINT') throw new Interrupted(endedBy);
      const end = endedBy ?? `exit code ${code}`;
      if (code !== 0) throw new Error(`The editor failed (${editor}, ${end}). Nothing was changed.`);
      return existsSync(path) ? readFile(path) : undefined;
    },
    async [Symbol.asyncDispose]() {
      terminal.signals.off('SIGHUP', hangUp);
      remove();
    },
  };
}
