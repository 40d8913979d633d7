/**
 * Finds out how the cells of a column write numbers and dates, and which type all of them have. All cells decide together,
 * because one cell is often ambiguous: 1.234 and 01/02/2024 have two meanings.
 *
 * The web page imports this file, so it must not import Node modules.
 */
import {
  type CellType,
  commaForm,
  type NumberType,
  numericDate,
  pointForm,
  readDate,
  readNumber,
} from './cell-types.js';

export interface CellStyle {
  /** The type of numbers, or both types if the cells do not decide what a point and a comma mean. */
  readonly numbers: readonly NumberType[];
  /** A number that has two meanings in this column, such as 1,000. */
  readonly unclearNumber: string;
  /** The type of dates, or both types if the cells do not decide which one it is. */
  readonly dates: readonly CellType[];
  /** The type of numbers, dates, or yes and no, if all cells with a text have it and lose nothing by it. */
  readonly common: CellType | undefined;
}

const bothMarks = ['pointNumber', 'commaNumber'] as const satisfies CellType[];
const bothOrders = ['dayFirstDate', 'monthFirstDate'] as const satisfies CellType[];

/** The style of a column whose cells are unknown. */
export const unknownStyle: CellStyle = {
  numbers: ['number'],
  unclearNumber: '1,000',
  dates: bothOrders,
  common: undefined,
};

const commonTypes = ['boolean', 'number', ...bothMarks, ...bothOrders] as const;
// A longer number may be an id, or the number of a bank account.
const digitsMax = 15;

/**
 * Whether a value of the type certainly says the same as the cell. 1 and 0 are numbers. 12E4 may be a code, 600 123 456 a phone
 * number, and 007 loses its zeros, so they are texts.
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

/**
 * Whether numbers would lose zeros at their end, as the version 1.10 does. In a column of prices, which all have the same number
 * of decimals, such zeros say nothing.
 */
function createLostZeros(decimalMark: string) {
  const lengths = new Set<number>();
  let hasZero = false;
  return {
    add(text: string): void {
      const decimals = text.split(decimalMark)[1] ?? '';
      lengths.add(decimals.length);
      hasZero ||= decimals.endsWith('0');
    },
    result: () => hasZero && lengths.size > 1,
  };
}

export function createCellStyle() {
  let [hasComma, hasPoint, isDayFirst, isMonthFirst, isUnclear] = [false, false, false, false, false];
  let unclearNumber: string | undefined;
  const lostZeros = { commaNumber: createLostZeros(','), pointNumber: createLostZeros('.') };
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
      if (isComma && isPoint && /[.,]/.test(text)) unclearNumber ??= text;
      for (const zeros of Object.values(lostZeros)) zeros.add(text);
      const [, first, , second] = numericDate.exec(text)?.map(Number) ?? [];
      if (first === undefined || second === undefined || first === second) return;
      if (first <= 12 && second <= 12) isUnclear = true;
      else if (second <= 12) isDayFirst = true;
      else if (first <= 12) isMonthFirst = true;
    },
    result(): CellStyle {
      const isMarkOpen = hasComma === hasPoint && (hasComma || unclearNumber !== undefined);
      const mark = hasComma ? 'commaNumber' : 'pointNumber';
      const numbers = isMarkOpen ? bothMarks : ([hasComma || hasPoint ? mark : 'number'] as const);
      const isOrderOpen = isDayFirst === isMonthFirst && (isDayFirst || isUnclear);
      const dates = isOrderOpen ? bothOrders : ([isMonthFirst ? 'monthFirstDate' : 'dayFirstDate'] as const);
      const hasLostZeros = (hasComma || hasPoint) && lostZeros[mark].result();
      // If the numbers or the dates have two possible meanings, the user must choose.
      const possible: CellType[] = [
        'boolean',
        ...(isMarkOpen || hasLostZeros ? [] : numbers),
        ...(isOrderOpen ? [] : dates),
      ];
      return {
        numbers,
        unclearNumber: unclearNumber ?? unknownStyle.unclearNumber,
        dates,
        common: possible.find((type) => common?.includes(type)),
      };
    },
  };
}
