/**
 * Reads a Markdown page as a reader follows it: which files to write and which commands to run, from top to bottom.
 *
 * A ```console block has commands after `$ `, each with its output. Another block is a file if its first line is a comment
 * with nothing but the file's name, such as `// first.ts`. A ```sql block runs in the database. All other blocks only
 * show something.
 */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

export type Step =
  | { readonly kind: 'file'; readonly name: string; readonly text: string }
  | { readonly kind: 'sql'; readonly text: string }
  | { readonly kind: 'command'; readonly line: string; readonly output: string };

export interface Section {
  readonly title: string;
  readonly steps: readonly Step[];
}

const root = path.resolve(import.meta.dirname, '../..');

export function readPage(page: string): string {
  return readFileSync(path.join(root, page), 'utf8');
}

/** README, and then the pages that it links to, in the order of the first link to each. */
export function pagesInReadingOrder(): string[] {
  const links = [...readPage('README.md').matchAll(/\]\(([\w/-]+\.md)\b/g)].map(([, link = '']) => link);
  return ['README.md', ...new Set(links)].filter((page) => existsSync(path.join(root, page)));
}

/** The sections that have steps. */
export function sectionsOf(page: string): Section[] {
  const sections: { title: string; steps: Step[] }[] = [];
  let current = { title: page, steps: [] as Step[] };
  for (const [, title, indent = '', kind = '', text = ''] of readPage(page).matchAll(
    /^#+ ([^\n]+)$|^( *)```(\w*)\n(.*?)^\2```$/gms,
  )) {
    if (title !== undefined) {
      current = { title, steps: [] };
      sections.push(current);
    } else {
      current.steps.push(...stepsOf(kind, text.replaceAll(new RegExp(`^${indent}`, 'gm'), '')));
    }
  }
  return sections.filter(({ steps }) => steps.length > 0);
}

function stepsOf(kind: string, text: string): Step[] {
  if (kind === 'console') return commandsOf(text);
  if (kind === 'sql') return [{ kind, text }];
  const [, name] = /^(?:\/\/|#|<!--) ([\w./-]+\.\w+)(?: -->)?\n/.exec(text) ?? [];
  return name === undefined ? [] : [{ kind: 'file', name, text }];
}

/** A command continues on the next line after a backslash, and until END if it contains `<<'END'`. */
function commandsOf(text: string): Step[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [, line = '', output = ''] = /^([^\n]*<<'END'\n.*?\nEND|(?:[^\n]*\\\n)*[^\n]*)\n?(.*)$/s.exec(part) ?? [];
      return { kind: 'command', line, output };
    });
}
