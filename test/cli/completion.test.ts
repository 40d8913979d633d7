/** The completion scripts, in real shells. zsh and fish are skipped where they are not installed. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { roster } from './command-line.js';

let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'roster-completion-'));
  const main = resolve(import.meta.dirname, '../../dist/src/main.js');
  writeFileSync(join(folder, 'roster'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`);
  chmodSync(join(folder, 'roster'), 0o755);
  writeFileSync(join(folder, 'users file.csv'), '');
  mkdirSync(join(folder, 'home'));
  for (const name of ['prod', 'staging']) {
    const env = { HOME: join(folder, 'home') };
    expect(await roster(['context', 'add', name, '--address', 'a:1'], { env })).toMatchObject({ code: 0 });
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs a shell in the folder, which has a `roster`, and returns its output. */
function run(shell: string, args: readonly string[], input = ''): string {
  const env = { PATH: `${folder}:${process.env.PATH}`, HOME: join(folder, 'home'), TERM: 'xterm', COLUMNS: '200' };
  const { stdout, stderr, status } = spawnSync(shell, args, { cwd: folder, env, input, encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

const isMissing = (shell: string) => spawnSync(shell, ['--version']).error !== undefined;

/** The part of the line before the cursor, and what its last word can be. */
const cases: readonly [string, readonly string[]][] = [
  ['roster cre', ['create']],
  ['./roster cre', ['create']],
  ['roster co', ['completion', 'context', 'count']],
  ['roster context ', ['add', 'list', 'remove', 'show', 'use']],
  ['roster migrate ', ['down', 'status', 'up']],
  ['roster key ', ['create', 'list', 'revoke']],
  ['roster key create --ex', ['--expires']],
  ['roster key list --output ', ['json', 'table']],
  ['roster completion ', ['bash', 'fish', 'zsh']],
  ['roster list --order', ['--order-by']],
  ['roster context add x --token-s', ['--token-stdin']],
  ['roster list --output ', ['csv', 'id', 'json', 'table', 'yaml']],
  ['roster list --limit 5 -o y', ['yaml']],
  ['roster list --filter list --output c', ['csv']],
  ['roster list --context ', ['prod', 'staging']],
  ['./roster context use s', ['staging']],
  ['roster serve --grpc-addr', ['--grpc-address']],
  ['roster get x', []],
];

describe('in bash', () => {
  /** Returns the words that bash would offer. Its completion function gets the words split as bash splits them. */
  function complete(line: string): string[] {
    const script = `source <(roster completion bash)
      read -ra COMP_WORDS <<< "$1"
      [[ $1 == *' ' ]] && COMP_WORDS+=('')
      COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
      _roster 2>/dev/null
      printf '%s\\n' "\${COMPREPLY[@]}"`;
    return run('bash', ['-c', script, 'bash', line]).split('\n').filter(Boolean).sort();
  }

  it.each(cases)('"%s" is completed', (line, expected) => {
    expect(complete(line)).toEqual(expected);
  });

  it('"roster list --output=c" is completed, which bash splits into three words', () => {
    expect(complete('roster list --output = c')).toEqual(['csv']);
  });

  it('a real Tab completes a command, a flag, a context and a file', () => {
    // `script` gives bash a terminal, so that it reads keys.
    const shell = `script -qec 'bash --norc --noprofile -i' /dev/null`;
    const input = [
      'source <(roster completion bash)',
      "PS1='> '",
      'roster compl\tbas\t | head -1',
      './roster list --cont\tpro\t --limit x 2>&1 | cat',
      './roster import users\t --format x 2>&1 | cat',
      'exit',
      '',
    ].join('\n');
    const out = run('sh', ['-c', shell], input);
    expect(out).toContain('roster completion bash  | head -1');
    expect(out).toContain('./roster list --context prod  --limit x');
    expect(out).toContain('./roster import users\\ file.csv  --format x');
  });
});

describe.skipIf(isMissing('fish'))('in fish', () => {
  const complete = (line: string) =>
    run('fish', ['--no-config', '-c', 'roster completion fish | source; complete -C $argv[1]', line])
      .split('\n')
      .filter(Boolean)
      .map((text) => text.split('\t')[0] ?? '')
      .sort();

  it.each(cases)('"%s" is completed', (line, expected) => {
    expect(complete(line)).toEqual(expected);
  });

  it('a file is completed where a path is expected', () => {
    expect(complete('roster import us')).toEqual(['users file.csv']);
    expect(complete('roster list --ca us')).toEqual(['users file.csv']);
  });
});

describe.skipIf(isMissing('zsh'))('in zsh', () => {
  /** zpty runs an interactive zsh. The style lists all matches in one line for each, between two marks. */
  function complete(line: string): string[] {
    const script = `zmodload zsh/zpty
      zpty z zsh -f -i
      zpty -w z 'autoload -Uz compinit; compinit -u -D; source <(roster completion zsh)'
      # Prints the matches instead of inserting them.
      zpty -w z 'compadd() { local -a found; builtin compadd -A found "$@"; builtin compadd -O found "$@"; print -rl -- "match:"$^found; builtin compadd "$@" }'
      zpty -w z 'bindkey "^I" complete-word; show() { zle complete-word; print end:; exit }; zle -N show; bindkey "^T" show; print ready:'
      zpty -r z out '*ready:*ready:*'
      zpty -w -n z "$1"$'\\x14'
      zpty -r z out '*end:*'
      print -r -- "$out"`;
    const out = run('zsh', ['-f', '-c', script, 'zsh', line]);
    return [...new Set([...out.matchAll(/match:([\w-]+)/g)].map(([, word = '']) => word))].sort();
  }

  it.each(cases)('"%s" is completed', (line, expected) => {
    expect(complete(line)).toEqual(expected);
  });
});
