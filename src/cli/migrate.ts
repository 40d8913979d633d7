/** `roster migrate`: migrates the database's schema, or shows its state. */
import { Argument, type Command } from 'commander';
import { type Flags, parseServerConfig } from '../config/parse.js';
import { serverSettings } from '../config/settings.js';
import type { Context } from './client-command.js';
import { createSettingsCommand } from './settings-command.js';
import { print } from './terminal.js';

export function createMigrateCommand(context: Context): Command {
  const description = 'Apply all pending migrations, undo the last one, or list all.';
  return createSettingsCommand('migrate', description, serverSettings)
    .usage('up|down|status [settings]')
    .addArgument(new Argument('<direction>').choices(['up', 'down', 'status']))
    .action((direction: 'up' | 'down' | 'status', flags: Flags) => runMigrate(context, direction, flags));
}

async function runMigrate({ terminal, signal }: Context, direction: 'up' | 'down' | 'status', flags: Flags) {
  const config = parseServerConfig(terminal.env, flags, { serves: false });
  const { migrate } = await import('../app.js');
  // The standard output has only the result.
  const logTo = { write: (text: string) => void terminal.stderr.write(text) };
  const { applied, pending, unknown, changed } = await migrate(config, direction, { signal, logTo });
  const verb = direction === 'up' ? 'applied' : 'undone';
  const lines = direction === 'status' ? [] : [`${changed.length} ${verb}${changed.length === 0 ? '' : ':'}`];
  for (const name of changed) lines.push(`  ${name}`);
  lines.push(`${applied.length} applied, ${pending.length} pending`);
  if (direction === 'status') {
    for (const name of applied) lines.push(`  applied  ${name}`);
    for (const name of pending) lines.push(`  pending  ${name}`);
    for (const name of unknown) lines.push(`  unknown  ${name} (from another version)`);
  }
  await print(terminal.stdout, `${lines.join('\n')}\n`);
}
