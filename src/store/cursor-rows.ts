/**
 * Reads a declared cursor by the protocol's own message instead of FETCH.
 *
 * For FETCH Postgres puts the rows by before it sends them, and the driver looks for a parser for each cell: together a
 * third of what both of them do for an export.
 */
import type pg from 'pg';

/** A row as Postgres writes it; nothing is parsed. */
export type TextRow = readonly (string | null)[];

/** What the driver calls on its way through an answer; its types know submit() only. */
interface Answer extends pg.Submittable {
  handleDataRow(message: { fields: TextRow }): void;
  handlePortalSuspended(): void;
  handleCommandComplete(): void;
  handleReadyForQuery(): void;
  handleError(error: unknown): void;
}

/** The cursor's next rows, at most `rowsMax` and fewer only at its end. Throws the driver's errors. */
export function nextRows(client: pg.Client, cursor: string, rowsMax: number): Promise<TextRow[]> {
  const { promise, resolve, reject } = Promise.withResolvers<TextRow[]>();
  const rows: TextRow[] = [];
  const answer: Answer = {
    submit(connection) {
      connection.execute({ portal: cursor, rows: String(rowsMax) }, true);
      // In a transaction block the cursor outlives this, and the connection is between two statements: it can be closed
      // with a goodbye.
      connection.sync();
    },
    handleDataRow: ({ fields }) => rows.push(fields),
    handlePortalSuspended: () => {},
    handleCommandComplete: () => {},
    handleReadyForQuery: () => resolve(rows),
    handleError: reject,
  };
  client.query(answer);
  return promise;
}
