/** Compares the table of keys in docs/web.md with the keys that the page shows. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { keys } from '../../web/commands/keys.js';

const docs = readFileSync(path.resolve(import.meta.dirname, '../../docs/web.md'), 'utf8');

/** `Mod+K` is Ctrl+K, and ⌘+K on a Mac. */
function textsOf(key: string): string[] {
  return key.startsWith('Mod+') ? [key.replace('Mod', 'Ctrl'), key.replace('Mod', '⌘')] : [key];
}

describe('the keys of the page', () => {
  it('are those of the table in docs/web.md', () => {
    const rows = keys.map(({ place, keys, effect }) => {
      const texts = keys.flatMap(textsOf).map((text) => `\`${text}\``);
      return `| ${place} | ${texts.join(', ')} | ${effect} |`;
    });
    const table = ['| Where | Key | Effect |', '| --- | --- | --- |', ...rows].join('\n');
    const start = docs.indexOf('| Where | Key |');
    expect(docs.slice(start, docs.indexOf('\n\n', start))).toBe(table);
  });

  it('are listed once for each place', () => {
    const all = keys.flatMap(({ place, keys }) => keys.map((key) => `${place}: ${key}`));
    expect(all).toEqual([...new Set(all)]);
  });
});
