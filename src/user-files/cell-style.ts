/**
 * Finds out how the cells of a column write numbers and dates. All cells decide together, because one cell is often
 * ambiguous: 1.234 and 01/02/2024 have two meanings.
 *
 * The web page imports this file, so it must not import Node modules.
 */
import { type CellType, commaForm, numericDate, pointForm } from './cell-types.js';

export interface CellStyle {
  /** The type of numbers. It is `number` if nothing decides, or if the cells contradict each other. */
  readonly number: CellType;
  /** The type of dates, or both types if the cells do not decide which one it is. */
  readonly dates: readonly CellType[];
}

const bothOrders: readonly CellType[] = ['dayFirstDate', 'monthFirstDate'];

/** The style of a column whose cells are unknown. */
export const unknownStyle: CellStyle = { number: 'number', dates: bothOrders };

export function createCellStyle() {
  let [hasComma, hasPoint, isDayFirst, isMonthFirst, isUnclear] = [false, false, false, false, false];
  let hasUnclearComma = false;
  return {
    add(cell: string): void {
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
      return { number, dates: isOpen ? bothOrders : [isMonthFirst ? 'monthFirstDate' : 'dayFirstDate'] };
    },
  };
}
