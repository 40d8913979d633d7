/** Reads from commander's tree what the shells can complete. */
import type { Argument, Command, Option } from 'commander';

/** How a shell completes a word: by a list, by the names of contexts, by files, or not at all. */
export type Values = readonly string[] | 'contexts' | 'files' | 'none';

export interface CompletedFlag {
  /** Such as `--output` and `-o`. */
  readonly names: readonly string[];
  readonly description: string;
  /** Unset for a flag without a value. */
  readonly values?: Values;
}

export interface CompletedCommand {
  /** The words after the name of the program: empty, or such as `context add`. */
  readonly path: readonly string[];
  readonly subcommands: readonly { readonly name: string; readonly description: string }[];
  readonly flags: readonly CompletedFlag[];
  readonly positions: readonly Values[];
}

/** Returns a command and its subcommands, without the hidden ones and `help`. */
export function completedCommands(command: Command, path: readonly string[] = []): CompletedCommand[] {
  const help = command.createHelp();
  const subcommands = help.visibleCommands(command).filter((each) => command.commands.includes(each));
  const own = {
    path,
    subcommands: subcommands.map((each) => ({ name: each.name(), description: firstSentence(each.description()) })),
    flags: help.visibleOptions(command).map(completedFlag),
    positions: command.registeredArguments.map((argument) => valuesOfArgument(argument, path)),
  };
  return [own, ...subcommands.flatMap((each) => completedCommands(each, [...path, each.name()]))];
}

function completedFlag(option: Option): CompletedFlag {
  const names = [option.long, option.short].filter((name) => name !== undefined && name !== null);
  // A flag with an optional value, such as --insecure, is complete without it.
  return {
    names,
    description: firstSentence(option.description),
    ...(option.required && { values: valuesOf(option) }),
  };
}

function valuesOf({ argChoices, flags, long }: Option): Values {
  if (argChoices !== undefined) return argChoices;
  if (long === '--context') return 'contexts';
  // The placeholders of settings and options whose value is a path.
  return /<(?:path|file)>/.test(flags) ? 'files' : 'none';
}

function valuesOfArgument(argument: Argument, path: readonly string[]): Values {
  if (argument.argChoices !== undefined) return argument.argChoices;
  const [command, subcommand] = path;
  if (command === 'context' && subcommand !== 'add') return 'contexts';
  return argument.name() === 'file' ? 'files' : 'none';
}

/** Menus have room for one short line. The settings of a server begin with a line that has only the variable. */
function firstSentence(description: string): string {
  const text = description.includes('\n') ? description.slice(description.indexOf('\n') + 1) : description;
  return (/^.*?[.;](?= |$)/.exec(text)?.[0] ?? text).replace(/[.;]$/, '');
}
