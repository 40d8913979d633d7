/** `roster indexes`: shows the indexes for lists, builds them, or drops them. */
import { Argument, type Command } from 'commander';
import { type Flags, parseServerConfig } from '../config/parse.js';
import { serverSettings } from '../config/settings.js';
import type { Context } from './client-command.js';
import { UsageError } from './failure.js';
import { createSettingsCommand } from './settings-command.js';
import { print, type Terminal } from './terminal.js';
import { createTable } from './text.js';

type Action = 'status' | 'build' | 'drop';

const mebibyte = 1_048_576;

export function createIndexesCommand(context: Context): Command {
  const description =
    'Show the indexes for lists by name and for searches, or build or drop them while calls continue.';
  return createSettingsCommand('indexes', description, serverSettings)
    .usage('[status|build|drop] [name|all] [settings]')
    .addArgument(new Argument('[action]').choices(['status', 'build', 'drop']).default('status'))
    .addArgument(new Argument('[name]'))
    .action((action: Action, name: string | undefined, flags: Flags) => runIndexes(context, action, name, flags));
}

async function runIndexes({ terminal, signal }: Context, action: Action, name: string | undefined, flags: Flags) {
  const config = parseServerConfig(terminal.env, flags, { serves: false });
  const { indexNames, manageIndexes } = await import('../app.js');
  const names = indexNames.filter((known) => name === 'all' || name === known);
  if (action !== 'status' && names.length === 0) {
    throw new UsageError(`Name the index to ${action}: ${indexNames.join(', ')} or all.`);
  }
  if (action === 'status' && name !== undefined) throw new UsageError('roster indexes status takes no name.');
  // The standard output has only the result.
  const logTo = { write: (text: string) => void terminal.stderr.write(text) };
  const verb = action === 'build' ? 'built' : 'dropped';
  const onChanged = (changed: string) => print(terminal.stdout, `${verb} ${changed}\n`);
  const change = action === 'status' ? undefined : { action, names, onChanged };
  const status = await manageIndexes(config, change, { signal, logTo });
  await showStatus(terminal, status);
}

interface Status {
  readonly name: string;
  readonly serves: string;
  readonly state: string;
  readonly built: number;
  readonly bytes: number;
  readonly scans: number;
  readonly scansSince: Date | undefined;
}

async function showStatus({ stdout }: Terminal, status: readonly Status[]): Promise<void> {
  const columns = [{ title: 'NAME', whole: true }, ...['STATE', 'SIZE', 'SCANS', 'SERVES'].map((title) => ({ title }))];
  const rows = status.map(({ name, serves, state, built, bytes, scans }) => [
    name,
    state === 'building' ? `building, ${Math.floor(built * 100)} %` : state,
    state === 'exists' || state === 'unusable' ? `${(bytes / mebibyte).toFixed(1)} MiB` : '',
    state === 'exists' ? String(scans) : '',
    serves,
  ]);
  const since = status.find(({ scansSince }) => scansSince !== undefined)?.scansSince;
  const note = since === undefined ? '' : `Postgres has counted scans since ${since.toISOString()}.\n`;
  await print(stdout, createTable(columns, stdout.columns)(rows) + note);
}
