/** Checks the documentation against the repository: links, anchors, npm scripts, commands and tables. */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { faultCodes } from '../src/model/fault.js';
import { requestBytesMax } from '../src/model/method-limits.js';

const root = join(import.meta.dirname, '..');
const files = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
  ...globSync('examples/**/README.md', { cwd: root, exclude: ['**/node_modules'] }),
];

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

function proseOf(file: string): string {
  return read(file).replace(/^ *```.*?^ *```$/gms, '');
}

/** The anchors that GitHub creates for headings. */
function anchorsOf(file: string): string[] {
  return [...proseOf(file).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

function brokenLinksOf(file: string): string[] {
  const links = [...proseOf(file).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link);
  return links.filter((link) => {
    if (/^https:/.test(link)) return false;
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? file : relative(root, join(root, dirname(file), path));
    if (!existsSync(join(root, target))) return true;
    return anchor !== undefined && !anchorsOf(target).includes(anchor);
  });
}

/** The cells of the table whose first title is `firstTitle`, without the titles. */
function tableOf(file: string, firstTitle: string): string[][] {
  const lines = read(file).split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${firstTitle} |`));
  const rows = lines.slice(start + 2);
  const end = rows.findIndex((line) => !line.startsWith('|'));
  return rows.slice(0, end).map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  );
}

describe('the documentation', () => {
  it.each(files)('%s has no broken link', (file) => {
    expect(brokenLinksOf(file)).toEqual([]);
  });

  it('names only npm scripts that exist', () => {
    // The README of an example may also name the scripts of its own folder.
    const scriptsOf = (folder: string): object => {
      const manifest = join(folder, 'package.json');
      return existsSync(join(root, manifest)) ? (JSON.parse(read(manifest)).scripts ?? {}) : {};
    };
    const named = files.flatMap((file) => {
      const scripts = { ...scriptsOf('.'), ...(file.startsWith('examples') ? scriptsOf(dirname(file)) : {}) };
      return [...read(file).matchAll(/\bnpm (?:run (?:--silent )?([\w:-]+)|(test)\b)/g)].map(([, run, test]) => {
        const script = run ?? test ?? '';
        return { script, exists: script in scripts };
      });
    });
    expect(named.map(({ script }) => script)).toContain('serve');
    expect(named.filter(({ exists }) => !exists)).toEqual([]);
  });

  it('names only commands of roster that exist', () => {
    const run = read('src/cli/run.ts');
    const named = files.flatMap((file) =>
      [...read(file).matchAll(/(?<![\w.])\.\/roster ([a-z][a-z-]*)/g)].map(([, name]) => name),
    );
    expect(named).toContain('create');
    expect([...new Set(named)].filter((name) => !run.includes(`'./${name}.js'`))).toEqual([]);
  });

  it('lists every command of roster in the README', () => {
    const { stdout } = spawnSync(process.execPath, ['dist/src/main.js', '--help'], { cwd: root, encoding: 'utf8' });
    const commands = [...(stdout.split('\nCommands:\n')[1] ?? '').matchAll(/^ {2}([a-z][a-z-]*)/gm)].map(
      ([, name]) => name,
    );
    const [, table = ''] = /\n\| Commands \|[^\n]*\n((?:\|[^\n]*\n)+)/.exec(read('README.md')) ?? [];
    const listed = [...table.matchAll(/^\|([^|]*)\|/gm)].flatMap(([, cell = '']) => [
      ...cell.matchAll(/`([a-z][a-z-]*)`/g),
    ]);
    expect(listed.map(([, name]) => name).sort()).toEqual(commands.filter((name) => name !== 'help').sort());
  });

  it('shows every example in the output of npm run examples', () => {
    const shown = [...read('examples/README.md').matchAll(/^(\S+) +passed +\d+ s$/gm)].map(([, name]) => name);
    const examples = globSync('**/check.mjs', { cwd: join(root, 'examples'), exclude: ['**/node_modules'] }).map(
      dirname,
    );
    expect(shown).toEqual(examples.sort());
  });

  it('links to every page from the README, and to every example from the list of examples', () => {
    const linked = ['README.md', 'examples/README.md'].flatMap((list) =>
      [...read(list).matchAll(/\]\(([^)#\s]+)/g)].map(([, link = '']) => join(dirname(list), link)),
    );
    const others = files.filter((file) => file !== 'README.md' && !file.startsWith(join('docs', 'decisions')));
    expect(others.filter((file) => !linked.includes(file))).toEqual([]);
  });
});

describe('docs/errors.md', () => {
  it('has every reason, in order, with its status', () => {
    const documented = tableOf('docs/errors.md', 'Reason').map(([reason, status]) => [
      reason?.replaceAll('`', ''),
      status,
    ]);
    expect(documented).toEqual(Object.entries(faultCodes));
  });

  it('says for each reason when it occurs, what to do and whether to retry', () => {
    const rows = tableOf('docs/errors.md', 'Reason');
    expect(rows.filter((row) => row.length !== 5 || row.includes(''))).toEqual([]);
  });
});

describe('the limits in docs/errors.md', () => {
  it('are the limits of each method of the contract', () => {
    const documented = tableOf('docs/errors.md', 'Method').flatMap(([methods = '', limit = '']) => {
      const [, number, unit] = /^(\d+) (KiB|MiB)$/.exec(limit) ?? [];
      const bytes = Number(number) * (unit === 'KiB' ? 1024 : 1024 * 1024);
      return [...methods.matchAll(/`(\w+)`/g)].map(([, method]) => [method, bytes]);
    });
    const limits = Object.entries(requestBytesMax)
      .filter(([path]) => !path.startsWith('/grpc.'))
      .map(([path, bytes]) => [path.split('/').at(-1), bytes]);
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(limits));
  });
});

describe('the table of the API', () => {
  it('has every method of the contract', () => {
    const methods = [...read('proto/users/v1/user_service.proto').matchAll(/^ {2}rpc (\w+)/gm)].map(([, name]) => name);
    const documented = tableOf('README.md', 'Method').flatMap(([names = '']) =>
      names.replace(/^\[(\w+)\]\(.*\)$/, '$1').split(', '),
    );
    expect([...documented].sort()).toEqual([...methods].sort());
  });
});

describe('docs/decisions', () => {
  it.each(files.filter((file) => file.startsWith(join('docs', 'decisions'))))('%s has its four parts', (file) => {
    const parts = [...read(file).matchAll(/^\*\*(\w+)\.\*\*/gm)].map(([, part]) => part);
    expect(parts).toEqual(['Context', 'Decision', 'Consequences', 'Rejected']);
  });
});
