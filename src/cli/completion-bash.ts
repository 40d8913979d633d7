/** Generates the completion script for bash, which also works with bash 3.2 of macOS, except for files after a flag. */
import type { CompletedCommand, Values } from './completion-tree.js';

const functions = `__roster_words() {
  COMPREPLY=($(compgen -W "$1" -- "$cur"))
}

__roster_contexts() {
  __roster_words "$("\${COMP_WORDS[0]}" context list --output id 2>/dev/null)"
}

__roster_files() {
  compopt -o default 2>/dev/null
}
`;

export function bashCompletion(commands: readonly CompletedCommand[]): string {
  const paths = commands.filter(({ path }) => path.length > 0);
  const subcommandCases = paths.map(
    ({ path }) => `'${[path.slice(0, -1).join(' '), path.at(-1)].join(' ')}') path='${path.join(' ')}' ;;`,
  );
  const valueFlags = commands.flatMap((command) =>
    command.flags.flatMap(({ names, values }) =>
      values === undefined ? [] : [{ pattern: names.map((name) => `'${pathOf(command)} ${name}'`).join('|'), values }],
    ),
  );
  const skipped = valueFlags.map(({ pattern }) => `${pattern}) skip=1 ;;`);
  const valueCases = valueFlags.map(({ pattern, values }) => `${pattern}) ${complete(values)}; return ;;`);
  const flagCases = commands.map((command) => {
    const names = command.flags.flatMap((flag) => flag.names);
    return `'${pathOf(command)}') __roster_words '${names.join(' ')}' ;;`;
  });
  const wordCases = commands.flatMap((command) => [
    ...(command.subcommands.length > 0
      ? [`'${pathOf(command)} 0') ${complete(command.subcommands.map(({ name }) => name))} ;;`]
      : []),
    ...command.positions.map((values, index) => `'${pathOf(command)} ${index}') ${complete(values)} ;;`),
  ]);
  return `# bash completion for roster. Load it with: source <(roster completion bash)
${functions}
_roster() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} path='' count=0 skip i word
  COMPREPLY=()
  # Bash splits --flag=value into three words.
  if [[ $cur == = ]]; then
    cur='' prev=\${COMP_WORDS[COMP_CWORD-2]}
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    skip=0
    case "$path $word" in
${indent([...subcommandCases, ...skipped], 6)}
      *) [[ $word == -* ]] || ((count++)) ;;
    esac
    if ((skip)); then
      [[ \${COMP_WORDS[i+1]} == = ]] && ((i++))
      ((i++))
    fi
  done
  case "$path $prev" in
${indent(valueCases, 4)}
  esac
  if [[ $cur == -* ]]; then
    case "$path" in
${indent(flagCases, 6)}
    esac
    return
  fi
  case "$path $count" in
${indent(wordCases, 4)}
  esac
}

complete -F _roster roster
`;
}

function pathOf({ path }: CompletedCommand): string {
  return path.join(' ');
}

function complete(values: Values): string {
  if (values === 'contexts') return '__roster_contexts';
  if (values === 'files') return '__roster_files';
  return values === 'none' ? ':' : `__roster_words '${values.join(' ')}'`;
}

function indent(lines: readonly string[], columns: number): string {
  return lines.map((line) => ' '.repeat(columns) + line).join('\n');
}
