/** Reports the result of an import: the counts, and the first rejected rows with their lines in the file. */
import type { ImportUsersResponse } from '../client/index.js';
import { safeJson, safeText } from '../safe-text.js';
import type { RowProblem } from '../user-files/columns.js';
import type { Column } from '../user-files/header.js';
import type { Place } from '../user-files/places.js';
import { count } from './progress.js';

// The server names at most this many in a response.
const rejectedRowsMax = 100;
const rejectedLinesMax = 20;

export type ImportReport = ReturnType<typeof createImportReport>;

/** `columns` are those of a file with a header. */
export function createImportReport(columns?: readonly Column[]) {
  const counts = { created: 0, updated: 0, skipped: 0, rejected: 0 };
  let committed = false;
  let errors: (Place & RowProblem)[] = [];

  function keep(error: Place & RowProblem): void {
    errors.push(error);
    // Errors come out of order: those of rows that were not sent come before those from the server.
    if (errors.length > 2 * rejectedRowsMax) prune();
  }
  function prune(): void {
    errors = errors.sort((a, b) => a.row - b.row).slice(0, rejectedRowsMax);
  }

  return {
    counts,
    get committed(): boolean {
      return committed;
    },
    reject({ row, line }: Place, { field, reason, message }: RowProblem): void {
      counts.rejected++;
      keep({ row, line, field, reason, message });
    },
    /** Adds the counts of rows that were written, or would have been. */
    addCounts(response: ImportUsersResponse): void {
      committed ||= response.committed;
      counts.created += response.created;
      counts.updated += response.updated;
      counts.skipped += response.skipped;
    },
    addRejected(response: ImportUsersResponse, placeOf: (index: number) => Place): void {
      counts.rejected += response.rejected;
      for (const { row, field, reason, message } of response.errors) keep({ ...placeOf(row), field, reason, message });
    },
    /** An ImportUsersResponse as protobuf JSON (64-bit numbers are strings), with each error's line and the columns. */
    toJson(): string {
      prune();
      const numbers = Object.entries(counts).map(([name, number]) => [name, number.toString()]);
      const rows = errors.map((error) => ({ ...error, row: error.row.toString() }));
      const names = columns?.map(({ name, field }) => ({ name, field }));
      return `${safeJson({ committed, ...Object.fromEntries(numbers), errors: rows, columns: names })}\n`;
    },
    /** Whole lines for a person. Rows count from 1. */
    toText(): string {
      prune();
      const { created, updated, skipped, rejected } = counts;
      const would = committed ? '' : ' would be';
      const lines = [
        `${count(created)}${would} created, ${count(updated)} updated, ${count(skipped)} skipped, ${count(rejected)} rejected`,
      ];
      for (const { row, line, field, message } of errors.slice(0, rejectedLinesMax)) {
        lines.push(`  row ${row + 1} (line ${line}): ${field === '' ? '' : `${field}: `}${message}`);
      }
      if (rejected > rejectedLinesMax) lines.push(`  and ${count(rejected - rejectedLinesMax)} more`);
      return `${lines.map(safeText).join('\n')}\n`;
    },
  };
}
