/**
 * Reads a declared cursor with the protocol's Execute message instead of FETCH.
 *
 * For FETCH, Postgres stores the rows before it sends them, and the driver looks up a parser for each cell. Both
 * together cost a third of an export.
 */
import type pg from 'pg';

/** A row as Postgres writes it; nothing is parsed. */
export type TextRow = readonly (string | null)[];

/** The methods that the driver calls for a query. Its types declare only submit(). */
interface ExecuteQuery extends pg.Submittable {
  handleDataRow(message: { fields: TextRow }): void;
  handlePortalSuspended(): void;
  handleCommandComplete(): void;
  handleReadyForQuery(): void;
  handleError(error: unknown): void;
}

/** Returns the cursor's next rows, at most `rowsMax`, and fewer only at its end. Throws the driver's errors. */
export function nextRows(client: pg.Client, cursor: string, rowsMax: number): Promise<TextRow[]> {
  const { promise, resolve, reject } = Promise.withResolvers<TextRow[]>();
  const rows: TextRow[] = [];
  const query: ExecuteQuery = {
    submit(connection) {
      connection.execute({ portal: cursor, rows: String(rowsMax) }, true);
      // The cursor survives Sync because it is in a transaction block. After Sync, the connection is between two
      // statements and can be closed properly.
      connection.sync();
    },
    handleDataRow: ({ fields }) => rows.push(fields),
    handlePortalSuspended: () => {},
    handleCommandComplete: () => {},
    handleReadyForQuery: () => resolve(rows),
    handleError: reject,
  };
  client.query(query);
  return promise;
}
