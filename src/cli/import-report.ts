/** Reports the result of an import: the counts, and the first rejected rows with their lines in the file. */
import type { ImportUsersResponse } from '../client/index.js';
import { safeJson, safeText } from '../safe-text.js';
import type { RowProblem } from '../user-files/columns.js';
import type { Column } from '../user-files/header.js';
import { count } from './progress.js';

// The server names at most this many in a response.
const rejectedRowsMax = 100;
const rejectedLinesMax = 20;

/** A place in the file. Rows count from 0, lines from 1. */
interface Place {
  row: number;
  line: number;
}

/**
 * Finds the place in the file of the n-th row that was sent. The two differ because some rows are not sent, and some have
 * several lines.
 *
 * It stores only the places at which this difference changes, which are few in most files.
 */
export function createPlaces() {
  const runs: (Place & { index: number })[] = [];
  let sent = 0;
  return {
    add(place: Place): void {
      const last = runs.at(-1);
      const index = sent++;
      const isInRun =
        last && place.row - index === last.row - last.index && place.line - index === last.line - last.index;
      if (!isInRun) runs.push({ index, ...place });
    },
    find(index: number): Place {
      const run = runs.findLast((each) => each.index <= index);
      if (run === undefined || index >= sent) throw new Error('The server named a row that was not sent.');
      return { row: run.row + index - run.index, line: run.line + index - run.index };
    },
  };
}

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
