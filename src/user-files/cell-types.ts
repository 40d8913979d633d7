/**
 * Converts the cells of a column for one attribute to the type of the column. A column without a type contains texts.
 *
 * The web page imports this file, so it must not import Node modules.
 */
import { isExactNumber } from '../json.js';
import { hasInfinity, isObject, readJson } from './read-json.js';

/** `json` is an object or a list. A list of other values than texts is JSON on the page. */
export type CellType = 'number' | 'boolean' | 'list' | 'json';

const jsonNumber = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const booleans: ReadonlyMap<string, boolean> = new Map([
  ['true', true],
  ['yes', true],
  ['false', false],
  ['no', false],
]);

/** Returns the text itself if it is not a value of the type. Ignores white space around a value, as JSON does. */
export function valueOfCell(text: string, type: CellType | undefined): unknown {
  switch (type) {
    case undefined:
      return text;
    case 'number': {
      const literal = text.trim();
      return jsonNumber.test(literal) && isExactNumber(literal) ? Number(literal) : text;
    }
    case 'boolean':
      return booleans.get(text.trim().toLowerCase()) ?? text;
    case 'list':
    case 'json': {
      const value = readJson(text);
      const hasType = Array.isArray(value) || (type === 'json' && isObject(value));
      return hasType && !hasInfinity(value) ? value : text;
    }
  }
}
