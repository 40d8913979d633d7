/** Tables: aligned, and cut to the width of a terminal. */
import { safeText } from '../safe-text.js';

const graphemes = new Intl.Segmenter();

// East Asian Wide and Fullwidth (Unicode's EastAsianWidth.txt, by blocks), and emoji.
const wide =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{17000}-\u{18cff}\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]|^\p{Emoji_Presentation}|\ufe0f/u;

/** The width in columns of a terminal. Each visible character takes one or two. */
export function displayWidth(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += widthOf(segment);
  return width;
}

function widthOf(grapheme: string): number {
  if (/^[\p{Mn}\p{Me}\p{Cf}]+$/u.test(grapheme)) return 0;
  return wide.test(grapheme) ? 2 : 1;
}

/** Shortens a text that is too wide, with `…` at its end. */
export function cut(text: string, widthMax: number): string {
  if (displayWidth(text) <= widthMax) return text;
  let kept = '';
  let width = 1;
  for (const { segment } of graphemes.segment(text)) {
    width += widthOf(segment);
    if (width > widthMax) break;
    kept += segment;
  }
  return `${kept}…`;
}

export interface Column {
  title: string;
  /** Never cut, because half an id is useless. */
  whole?: boolean;
}

const gap = '  ';
// A cut value is still recognizable at this width.
const cutColumnsMin = 8;

// Wide enough for most names and emails.
const pipedColumnsMax = 40;

/**
 * Formats rows in parts, each aligned with the previous ones. With the width of a terminal, long values are cut.
 *
 * Without a terminal, nothing is cut, because `grep` must find every value, and a long value moves only the rest of its own
 * line. kubectl widens the whole column instead, and gh separates values by tabs, which a person cannot read in `less`.
 * Programs have --output csv, json and id.
 */
export function createTable(
  columns: readonly Column[],
  terminalColumns: number | undefined,
  styleTitles: (line: string) => string = (line) => line,
) {
  // A terminal without a known width, as in some containers, has 0 columns.
  const columnsMax = terminalColumns || undefined;
  const widths = columns.map(({ title }) => displayWidth(title));
  let begun = false;

  function fitWidths(): number[] {
    if (columnsMax === undefined) return widths.map((width) => Math.min(width, pipedColumnsMax));
    const fitted = [...widths];
    let excess = fitted.reduce((sum, width) => sum + width + gap.length, -gap.length) - columnsMax;
    while (excess-- > 0) {
      const candidates = fitted.map((width, index) => (columns[index]?.whole ? 0 : width));
      const widest = Math.max(...candidates);
      if (widest <= cutColumnsMin) break;
      fitted[candidates.indexOf(widest)] = widest - 1;
    }
    return fitted;
  }

  /** Returns whole lines. The first part begins with the titles. */
  return (rows: readonly (readonly string[])[]): string => {
    const cells = rows.map((row) => row.map(safeText));
    for (const row of cells) {
      row.forEach((cell, index) => {
        widths[index] = Math.max(widths[index] ?? 0, displayWidth(cell));
      });
    }
    const fitted = fitWidths();
    const lines = cells.map((row) => alignRow(row, fitted, columnsMax !== undefined));
    if (!begun)
      lines.unshift(
        styleTitles(
          alignRow(
            columns.map(({ title }) => title),
            fitted,
            false,
          ),
        ),
      );
    begun = true;
    return lines.map((line) => `${line}\n`).join('');
  };
}

function alignRow(row: readonly string[], widths: readonly number[], cuts: boolean): string {
  return row
    .map((cell, index) => {
      const width = widths[index] ?? 0;
      const text = cuts ? cut(cell, width) : cell;
      return text + ' '.repeat(Math.max(0, width - displayWidth(text)));
    })
    .join(gap)
    .trimEnd();
}
