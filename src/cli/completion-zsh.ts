/** Generates the completion script for zsh: a function with the specifications of `_arguments` for each command. */
import type { CompletedCommand, CompletedFlag, Values } from './completion-tree.js';

export function zshCompletion(commands: readonly CompletedCommand[]): string {
  return `#compdef roster
# zsh completion for roster. Load it after compinit with: source <(roster completion zsh)

__roster_contexts() {
  local -a names
  names=(\${(f)"$($program context list --output id 2>/dev/null)"})
  compadd -a names
}

${commands.map(functionOf).join('\n\n')}

if [[ $funcstack[1] == _roster ]]; then
  _roster "$@"
else
  compdef _roster roster
fi
`;
}

function functionOf(command: CompletedCommand): string {
  const specs = command.flags.flatMap(flagSpecs);
  const { subcommands, positions, path } = command;
  const name = nameOf(path);
  if (subcommands.length === 0) {
    specs.push(...positions.map((values, index) => quote(`${index + 1}:${actionOf(values)}`)));
    return `${name}() {\n  _arguments ${specs.join(' \\\n    ')}\n}`;
  }
  const items = subcommands.map((each) => quote(`${each.name}:${each.description}`));
  // `words` changes in subcommands, and __roster_contexts needs the program as it was typed.
  const program = path.length === 0 ? '  local program=$words[1]\n' : '';
  return `${name}() {
${program}  local curcontext=$curcontext state line
  local -a commands
  _arguments -C ${specs.join(' \\\n    ')} \\
    '1: :->command' '*:: :->rest' && return
  case $state in
    command)
      commands=(
        ${items.join('\n        ')}
      )
      _describe command commands ;;
    rest)
      case $words[1] in
        ${subcommands.map((each) => `${each.name}) ${nameOf([...path, each.name])} ;;`).join('\n        ')}
      esac ;;
  esac
}`;
}

/** The asterisk allows a flag to be repeated. */
function flagSpecs({ names, description, values }: CompletedFlag): string[] {
  const text = `[${description.replaceAll(/[\\[\]:]/g, '\\$&')}]`;
  return names.map((name) => {
    if (values === undefined) return quote(`*${name}${text}`);
    return quote(`*${name}${name.startsWith('--') ? '=' : '+'}${text}:${actionOf(values)}`);
  });
}

function actionOf(values: Values): string {
  if (values === 'contexts') return 'context:__roster_contexts';
  if (values === 'files') return 'file:_files';
  return values === 'none' ? 'value:' : `value:(${values.join(' ')})`;
}

function nameOf(path: readonly string[]): string {
  return ['_roster', ...path].join('_');
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
