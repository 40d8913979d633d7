/** Reads JSON that somebody else wrote, with each text as it stands there or not at all. */
import { parseJson, replaceInexactNumbers } from '../json.js';

/**
 * Undefined if the text is not JSON, or if half of a surrogate pair would arrive as another character. A number that would
 * arrive as another one is read as Infinity, so that hasInfinity() finds it in the parts that the caller uses.
 */
export function readJson(text: string): unknown {
  try {
    return parseJson(
      replaceInexactNumbers(text, () => '1e999'),
      readWellFormed,
    );
  } catch {
    return undefined;
  }
}

function readWellFormed(literal: string): string {
  const text: string = JSON.parse(literal);
  if (!text.isWellFormed()) throw new SyntaxError('half of a surrogate pair');
  return text;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether JSON that readJson() gave has a number that could not be read exactly. */
export function hasInfinity(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isFinite(value);
  return typeof value === 'object' && value !== null && Object.values(value).some(hasInfinity);
}
