/** Creates the commands that take the settings of a server or a gateway as flags. */
import { Command, type Help, Option } from 'commander';
import { type SettingTable, settingRows } from '../config/setting.js';

/** The action's options are the flags that the parsers in config/parse.ts take. */
export function createSettingsCommand(name: string, description: string, settings: SettingTable): Command {
  const command = new Command(name).description(description).usage('[settings]').configureHelp({ formatItem });
  command.optionsGroup('Settings. Each is a flag or an environment variable. The flag wins.\n');
  for (const { name, flag, placeholder, isSwitch, allowed, description, ...row } of settingRows(settings)) {
    // Not with commander's env(), for which an empty variable would not mean the default.
    const text = `${name}, default ${row.default}\n${description} Allowed: ${allowed}.`;
    command.addOption(new Option(`${flag} ${placeholder}`, text));
    if (isSwitch) command.addOption(new Option(flag.replace('--', '--no-')).hideHelp());
  }
  return command;
}

/** Writes the description below the flag, because the longest flags leave no room beside them. */
function formatItem(term: string, _termWidth: number, description: string, helper: Help): string {
  const lines = helper.boxWrap(description, (helper.helpWidth ?? 80) - 6).split('\n');
  return [`  ${term}`, ...lines.map((line) => `      ${line}`), ''].join('\n');
}
