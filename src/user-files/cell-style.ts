/**
 * Finds out how the cells of a column write numbers and dates, and which type all of them have. All cells decide together,
 * because one cell is often ambiguous: 1.234 and 01/02/2024 have two meanings.
 *
 * The web page imports this file, so it must not import Node modules.
 */
import { type CellType, commaForm, numericDate, pointForm, readDate, readNumber } from './cell-types.js';

export interface CellStyle {
  /** The type of numbers. It is `number` if nothing decides, or if the cells contradict each other. */
  readonly number: CellType;
  /** The type of dates, or both types if the cells do not decide which one it is. */
  readonly dates: readonly CellType[];
  /** The type of numbers, dates, or yes and no, if all cells with a text have it and lose nothing by it. */
  readonly common: CellType | undefined;
}

const bothOrders = ['dayFirstDate', 'monthFirstDate'] as const satisfies CellType[];

/** The style of a column whose cells are unknown. */
export const unknownStyle: CellStyle = { number: 'number', dates: bothOrders, common: undefined };

const commonTypes = ['boolean', 'number', 'commaNumber', 'pointNumber', ...bothOrders] as const;
// A longer number may be an id, or the number of a bank account.
const digitsMax = 15;

/**
 * Whether a value of the type certainly says the same as the cell. 1 and 0 are numbers. 12E4 may be a code, 600 123 456 a phone
 * number, and 007 loses its zeros, so they are texts. So is 1.234 if no other cell shows what the point means.
 */
function isOfType(cell: string, type: CellType): boolean {
  const text = cell.trim();
  switch (type) {
    case 'boolean':
      return /^(?:true|false|yes|no)$/i.test(text);
    case 'number':
    case 'commaNumber':
    case 'pointNumber':
      if ((type === 'number' ? /[e .]/i : /[e ]/i).test(text)) return false;
      return text.replaceAll(/\D/g, '').length <= digitsMax && readNumber(text, type) !== undefined;
    case 'dayFirstDate':
    case 'monthFirstDate':
      return readDate(text, type) !== undefined;
    default:
      return false;
  }
}

export function createCellStyle() {
  let [hasComma, hasPoint, isDayFirst, isMonthFirst, isUnclear] = [false, false, false, false, false];
  let hasUnclearComma = false;
  let common: readonly CellType[] | undefined;
  return {
    add(cell: string): void {
      if (cell !== '' && common?.length !== 0) common = (common ?? commonTypes).filter((type) => isOfType(cell, type));
      if (!/^\s*-?\d/.test(cell)) return;
      const text = cell.trim();
      const isComma = commaForm.test(text);
      const isPoint = pointForm.test(text);
      hasComma ||= isComma && !isPoint;
      hasPoint ||= isPoint && !isComma;
      hasUnclearComma ||= isComma && isPoint && text.includes(',');
      const [, first, , second] = numericDate.exec(text)?.map(Number) ?? [];
      if (first === undefined || second === undefined || first === second) return;
      if (first <= 12 && second <= 12) isUnclear = true;
      else if (second <= 12) isDayFirst = true;
      else if (first <= 12) isMonthFirst = true;
    },
    /** 1,234 has a decimal comma if semicolons separate the cells, because programs write both in the same languages. */
    result(delimiter: string): CellStyle {
      const isComma = hasComma || (!hasPoint && hasUnclearComma && delimiter === ';');
      const number = isComma === hasPoint ? 'number' : isComma ? 'commaNumber' : 'pointNumber';
      const isOpen = isDayFirst === isMonthFirst && (isDayFirst || isUnclear);
      const dates = isOpen ? bothOrders : ([isMonthFirst ? 'monthFirstDate' : 'dayFirstDate'] as const);
      // If the dates have two possible orders, the user must choose.
      const possible: CellType[] = ['boolean', number, ...(isOpen ? [] : dates)];
      return { number, dates, common: possible.find((type) => common?.includes(type)) };
    },
  };
}
