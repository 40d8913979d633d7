/** Creates the commands that take the settings of config.ts, with the settings in their help. */
import { Command } from 'commander';
import { settingsHelp } from '../config.js';

export function createSettingsCommand(name: string, description: string, side: 'server' | 'gateway'): Command {
  return (
    new Command(name)
      .description(description)
      .usage('[settings]')
      .addHelpText('after', () => `\n${settingsHelp(side)}`)
      // config.ts parses the settings, and reports all their problems at once.
      .allowUnknownOption()
      .allowExcessArguments()
  );
}
