/** Reads JSON that somebody else wrote, with each text as it stands there or not at all. */
import { parseJson } from '../json.js';

/** Undefined for what is no JSON, and where half of a surrogate pair would arrive as another character. */
export function readJson(text: string): unknown {
  try {
    return parseJson(text, readWellFormed);
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
