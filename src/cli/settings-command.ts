/** What the commands have in common that take the settings of config.ts: how they are told, and how help shows them. */
import { Command } from 'commander';
import { settingsHelp } from '../config.js';

export function createSettingsCommand(name: string, description: string, side: 'server' | 'gateway'): Command {
  return (
    new Command(name)
      .description(description)
      .usage('[settings]')
      .addHelpText('after', () => `\n${settingsHelp(side)}`)
      // The settings are config's to read: it reports all that is wrong with them at once.
      .allowUnknownOption()
      .allowExcessArguments()
  );
}
