/** Formatting data for a terminal. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createTable, cut, displayWidth } from '../../src/cli/text.js';
import { safeJson, safeText } from '../../src/safe-text.js';

describe('text', () => {
  it('has no characters that control a terminal', () => {
    expect(safeText('a\u001b[31mb\u009b1m\nc\u202ed')).toBe('a\\u001b[31mb\\u009b1m\\u000ac\\u202ed');
  });

  it('as JSON is unchanged and as safe', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.string({ unit: 'binary' }), (value, text) => {
        const json = safeJson({ value, text }, 2);
        expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify({ value, text })));
        expect(json).not.toMatch(/[^\P{Cc}\n]/u);
      }),
    );
  });

  it.each([
    ['abc', 3],
    ['é', 1],
    ['e\u0301', 1],
    ['日本', 4],
    ['한글', 4],
    ['👩‍👩‍👧', 2],
    ['❤️', 2],
    ['ﬁ', 1],
    ['', 0],
  ])('%s takes %d columns', (text, width) => {
    expect(displayWidth(text)).toBe(width);
  });

  it('is cut between characters, and never wider than requested', () => {
    expect(cut('日本語', 6)).toBe('日本語');
    expect(cut('日本語', 5)).toBe('日本…');
    expect(cut('日本語', 4)).toBe('日…');
    expect(cut('e\u0301e\u0301e\u0301', 2)).toBe('e\u0301…');
  });
});

describe('a table', () => {
  const columns = [{ title: 'ID', whole: true }, { title: 'NAME' }, { title: 'EMAIL' }];

  it('is aligned, also with characters of double width', () => {
    const table = createTable(columns, undefined);
    expect(
      table([
        ['1', '日本', 'a@b'],
        ['22', 'Ada', 'c@d'],
      ]),
    ).toBe('ID  NAME  EMAIL\n1   日本  a@b\n22  Ada   c@d\n');
    expect(table([['3', 'Augusta', 'e@f']])).toBe('3   Augusta  e@f\n');
  });

  it('cuts the widest cells to the width of the terminal, and never a column that must stay whole', () => {
    const table = createTable(columns, 40);
    const text = table([['0198c0de-0000', 'A name that is rather long', 'short@example.com']]);
    for (const line of text.trimEnd().split('\n')) expect(displayWidth(line)).toBeLessThanOrEqual(40);
    expect(text).toContain('0198c0de-0000');
    expect(text).toContain('…');
  });
});
