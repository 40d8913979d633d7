/**
 * `roster completion`: prints a script that completes commands, flags and their values in bash, zsh or fish.
 *
 * The scripts contain commander's tree. cobra, and @bomb.sh/tab for commander, start the program for each Tab instead, which
 * would take 0.2 s of CPU in Node. Only the names of contexts come from the program.
 */
import { Argument, type Command } from 'commander';
import { type Context, createClientCommand } from './client-command.js';
import { bashCompletion } from './completion-bash.js';
import { fishCompletion } from './completion-fish.js';
import { completedCommands } from './completion-tree.js';
import { zshCompletion } from './completion-zsh.js';
import { print } from './terminal.js';

const generators = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };
type Shell = keyof typeof generators;

const help = `
bash, in ~/.bashrc:
  source <(roster completion bash)
zsh, in ~/.zshrc, after compinit:
  source <(roster completion zsh)
fish:
  roster completion fish > ~/.config/fish/completions/roster.fish

The scripts complete every command that is called roster, also ./roster.`;

/** `program` returns the whole tree, which does not exist yet. */
export function createCompletionCommand({ terminal }: Context, program: () => Command): Command {
  return createClientCommand('completion', 'Print a script that completes the command line in a shell.', [
    'completion bash > ~/.local/share/bash-completion/completions/roster',
  ])
    .addArgument(new Argument('<shell>').choices(Object.keys(generators)))
    .addHelpText('after', help)
    .action((shell: Shell) => print(terminal.stdout, generators[shell](completedCommands(program()))));
}
