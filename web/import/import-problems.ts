/** Explains problems of rows that the server cannot explain well, because it does not know the file. */
import type { RowProblem } from '../../src/user-files/columns.js';
import { type Column, isColumnOf, requiredFields } from '../../src/user-files/header.js';
import { emailKey } from '../text/email-key.js';

export interface ProblemRow {
  /** Counted from 1. */
  readonly row: number;
  readonly cells: readonly string[];
  readonly firstName?: string;
  readonly problem: Pick<RowProblem, 'field' | 'reason'>;
}

/** Returns the text for a required field without a value, and undefined for other problems. */
export function explainEmpty(
  columns: readonly Column[],
  { cells, firstName = '', problem }: Omit<ProblemRow, 'row'>,
): string | undefined {
  if (!requiredFields.includes(problem.field) || cellAt(columns, cells, problem.field) !== '') return undefined;
  if (columns.some((column) => isColumnOf(column, problem.field))) return 'is empty';
  if (firstName.trim() !== '') return undefined;
  // Only an update can do without this column.
  return 'No user has this email, and a new user needs a first name.';
}

function cellAt(columns: readonly Column[], cells: readonly string[], field: string): string {
  return cells[columns.findIndex((column) => isColumnOf(column, field))]?.trim() ?? '';
}

/**
 * Returns texts that replace those of the server, by the number of the row. `readFile` reads the rows of the file. It is
 * called only if an email is taken, because it takes seconds for a large file.
 */
export async function explainProblems(
  columns: readonly Column[],
  rows: readonly ProblemRow[],
  readFile: () => AsyncIterable<{ readonly row: number; readonly original: string | readonly string[] }>,
): Promise<ReadonlyMap<number, string>> {
  const texts = new Map<number, string>();
  for (const each of rows) {
    const text = explainEmpty(columns, each);
    if (text !== undefined) texts.set(each.row, text);
  }

  const taken = rows.filter(({ problem }) => problem.reason === 'EMAIL_TAKEN');
  if (taken.length === 0) return texts;
  const emailOf = (cells: readonly string[]) => emailKey(cellAt(columns, cells, 'email'));
  // The user may have corrected these rows.
  const known = new Map(rows.map(({ row, cells }) => [row, cells]));
  const rowsByEmail = new Map(taken.map(({ cells }) => [emailOf(cells), new Set<number>()]));
  try {
    for await (const { row, original } of readFile()) {
      rowsByEmail.get(emailOf(known.get(row) ?? [original].flat()))?.add(row);
    }
  } catch {
    // The rows before the error are enough, and the import reports it.
  }
  const takenRows = new Set(taken.map(({ row }) => row));
  for (const { row, cells } of taken) {
    const sameEmail = rowsByEmail.get(emailOf(cells)) ?? new Set<number>();
    // If no row got the email, somebody in the directory has it, and the first row keeps the server's text.
    const isOfDirectory = row === Math.min(...sameEmail) && [...sameEmail].every((each) => takenRows.has(each));
    if (sameEmail.size > 1 && !isOfDirectory) texts.set(row, 'Another row of this file has this email.');
  }
  return texts;
}
