/** Generates the completion script for fish: a `complete` command for each flag and subcommand. */
import type { CompletedCommand, CompletedFlag, Values } from './completion-tree.js';

export function fishCompletion(commands: readonly CompletedCommand[]): string {
  const paths = commands.filter(({ path }) => path.length > 0).map(({ path }) => quote(path.join(' ')));
  return `# fish completion for roster. Save it as ~/.config/fish/completions/roster.fish

# Whether the words before the cursor name this command.
function __roster_at
    set -l path
    for word in (commandline -opc)[2..-1]
        if contains -- (string join ' ' -- $path $word) ${paths.join(' ')}
            set path $path $word
        end
    end
    test "$path" = "$argv[1]"
end

function __roster_contexts
    set -l program (commandline -opc)[1]
    $program context list --output id 2>/dev/null
end

complete -c roster -f
${commands.flatMap(linesOf).join('\n')}
`;
}

function linesOf({ path, subcommands, flags, positions }: CompletedCommand): string[] {
  const start = `complete -c roster -n ${quote(`__roster_at ${quote(path.join(' '))}`)}`;
  return [
    ...subcommands.map(({ name, description }) => `${start} -a ${name} -d ${quote(description)}`),
    ...flags.map((flag) => `${start} ${flagOptions(flag)} -d ${quote(flag.description)}`),
    ...positions.filter((values) => values !== 'none').map((values) => `${start} ${valueOptions(values)}`),
  ];
}

function flagOptions({ names, values }: CompletedFlag): string {
  const options = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
  if (values === 'files') options.push('-r -F');
  else if (values !== undefined) options.push(values === 'none' ? '-x' : `-x ${valueOptions(values)}`);
  return options.join(' ');
}

function valueOptions(values: Values): string {
  if (values === 'files') return '-F';
  return `-a ${quote(values === 'contexts' ? '(__roster_contexts)' : [values].flat().join(' '))}`;
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
