/** Counts rejected rows by their reasons, because thousands of rows often have the same one. */
import type { RowProblem } from '../../src/user-files/columns.js';

export interface RejectReason {
  readonly field: string;
  readonly message: string;
  readonly rows: number;
  /** The number in the file of the first such row, and the line where it begins, from 1. */
  readonly firstRow: number;
  readonly firstLine: number;
}

export function createReasons(before: readonly RejectReason[] = []) {
  const reasons = new Map(before.map((reason) => [keyOf(reason), reason]));
  let rows = before.reduce((sum, reason) => sum + reason.rows, 0);
  return {
    add({ row, line }: { row: number; line: number }, problem: Pick<RowProblem, 'field' | 'message'>): void {
      rows++;
      const { field, message } = problem;
      const key = keyOf(problem);
      const known = reasons.get(key) ?? { field, message, rows: 0, firstRow: row, firstLine: line };
      const first = row < known.firstRow ? { firstRow: row, firstLine: line } : {};
      reasons.set(key, { ...known, ...first, rows: known.rows + 1 });
    },
    rows: () => rows,
    /** The most frequent first. */
    list: (): readonly RejectReason[] =>
      [...reasons.values()].sort((a, b) => b.rows - a.rows || a.firstRow - b.firstRow),
  };
}

function keyOf({ field, message }: Pick<RowProblem, 'field' | 'message'>): string {
  return `${field}\n${message}`;
}
