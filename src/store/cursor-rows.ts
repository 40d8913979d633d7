/**
 * Reads the rows of a portal with the protocol's Execute message.
 *
 * For FETCH from a declared cursor, Postgres stores the rows before it sends them, which costs a third of an export.
 */
import type pg from 'pg';
import type { RowMessage } from '../database/row-messages.js';

/** The methods that the driver calls for a query. Its types declare only submit(). */
interface ExecuteQuery extends pg.Submittable {
  handleDataRow(row: RowMessage): void;
  handlePortalSuspended(): void;
  handleCommandComplete(): void;
  handleReadyForQuery(): void;
  handleError(error: unknown): void;
}

/** Returns the portal's next rows, at most `rowsMax`, and fewer only at its end. Throws the driver's errors. */
export function nextRows(client: pg.Client, portal: string, rowsMax: number): Promise<RowMessage[]> {
  const { promise, resolve, reject } = Promise.withResolvers<RowMessage[]>();
  const rows: RowMessage[] = [];
  const query: ExecuteQuery = {
    submit(connection) {
      connection.execute({ portal, rows: String(rowsMax) }, true);
      // The portal survives Sync because it is in a transaction block. After Sync, the connection is between two
      // statements and can be closed properly.
      connection.sync();
    },
    handleDataRow: (row) => rows.push(row),
    handlePortalSuspended: () => {},
    handleCommandComplete: () => {},
    handleReadyForQuery: () => resolve(rows),
    handleError: reject,
  };
  client.query(query);
  return promise;
}
