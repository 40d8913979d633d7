/** Styles for text on a terminal, and whether to use them. Bold, red and green are readable on light and dark screens. */
import { styleText } from 'node:util';
import type { Terminal } from './terminal.js';

/** Returns the text in a style, or unchanged if the stream gets no styles. */
export type Style = (format: 'bold' | 'red' | 'green', text: string) => string;

export interface Styles {
  readonly stdout: Style;
  readonly stderr: Style;
}

/** Reads `--no-color` from the arguments, because help and errors need it before commander has parsed them. */
export function createStyles({ env, stdout, stderr }: Terminal, args: readonly string[]): Styles {
  const isOff = args.includes('--no-color');
  const styleFor = ({ isTTY = false }: { isTTY?: boolean }): Style =>
    !isOff && usesColors(env, isTTY)
      ? (format, text) => styleText(format, text, { validateStream: false })
      : (_, text) => text;
  return { stdout: styleFor(stdout), stderr: styleFor(stderr) };
}

/**
 * Follows no-color.org and bixense.com/clicolors. FORCE_COLOR overrides NO_COLOR, as in Node and npm. Not with the check in
 * styleText, which knows neither CLICOLOR nor --no-color.
 */
export function usesColors(env: Terminal['env'], isTerminal: boolean): boolean {
  const { FORCE_COLOR, NO_COLOR = '', CLICOLOR_FORCE = '', CLICOLOR, TERM } = env;
  if (FORCE_COLOR !== undefined) return !['0', 'false'].includes(FORCE_COLOR);
  if (NO_COLOR !== '') return false;
  if (!['', '0'].includes(CLICOLOR_FORCE)) return true;
  return isTerminal && CLICOLOR !== '0' && TERM !== 'dumb';
}
