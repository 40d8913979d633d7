/** Reads JSON from other programs, and detects strings and numbers that Roster could not store unchanged. */
import { parseJson, replaceInexactNumbers } from '../json.js';

/** More than the server accepts, and few enough for functions that call themselves for each level. */
const levelsMax = 1_000;

/**
 * Returns undefined if the text is not JSON, is nested in more than a thousand levels, or has half of a surrogate pair,
 * which UTF-8 cannot encode. A number that would change is read as Infinity, so that hasInfinity() finds it in the parts
 * that the caller uses.
 */
export function readJson(text: string): unknown {
  try {
    const value = parseJson(
      replaceInexactNumbers(text, () => '1e999'),
      readWellFormed,
    );
    // Each level takes two brackets.
    return text.length > 2 * levelsMax && isTooDeep(value) ? undefined : value;
  } catch {
    return undefined;
  }
}

function isTooDeep(value: unknown): boolean {
  let items = [value];
  for (let levels = 0; levels <= levelsMax; levels++) {
    items = items.flatMap((item) => (typeof item === 'object' && item !== null ? Object.values(item) : []));
    if (items.length === 0) return false;
  }
  return true;
}

function readWellFormed(literal: string): string {
  const text: string = JSON.parse(literal);
  if (!text.isWellFormed()) throw new SyntaxError('half of a surrogate pair');
  return text;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a value from readJson() has a number that could not be read exactly. */
export function hasInfinity(value: unknown): boolean {
  if (typeof value === 'number') return !Number.isFinite(value);
  return typeof value === 'object' && value !== null && Object.values(value).some(hasInfinity);
}
