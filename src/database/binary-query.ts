/** Runs statements whose rows stay as Postgres sends them, in the binary format. */
import pg from 'pg';
import type { Statement } from './database.js';
import type { RowMessage } from './row-messages.js';

/** Returns the rows of a statement. Throws the driver's errors. */
export function runBinary(
  client: pg.ClientBase,
  statement: Statement,
  values: readonly unknown[],
): Promise<RowMessage[]> {
  return send(client, statement, values, '', withoutDescribe);
}

/**
 * Opens a portal with a name in the current transaction. The protocol's Execute message then reads its rows piece by
 * piece. Throws the driver's errors.
 */
export async function openPortal(
  client: pg.ClientBase,
  portal: string,
  text: string,
  values: readonly unknown[],
): Promise<void> {
  await send(client, { name: '', text }, values, portal, withoutDescribeAndExecute);
}

/** `viewOf` returns the connection that sends the messages of the statement. */
function send(
  client: pg.ClientBase,
  { name, text }: Statement,
  values: readonly unknown[],
  portal: string,
  viewOf: (connection: pg.Connection) => pg.Connection,
): Promise<RowMessage[]> {
  const { promise, resolve, reject } = Promise.withResolvers<RowMessage[]>();
  const rows: RowMessage[] = [];
  // In a pipeline, the driver accepts only queries of its own class.
  const query = new pg.Query(text, [...values]);
  const submit = query.submit.bind(query);
  client.query(
    Object.assign(query, {
      name: name === '' ? undefined : name,
      portal,
      binary: true,
      queryMode: 'extended',
      callback: (error: unknown) => (error ? reject(error) : resolve(rows)),
      handleDataRow: (row: RowMessage) => rows.push(row),
      submit: (connection: pg.Connection) => submit(viewOf(connection)),
    }),
  );
  return promise;
}

const omitted = { value: () => {} };
const undescribed = new WeakMap<pg.Connection, pg.Connection>();

/**
 * The connection, but it does not ask Postgres to describe the columns. The driver does so with each statement, which
 * costs as much as ten rows and is of no use for rows that nothing parses.
 */
function withoutDescribe(connection: pg.Connection): pg.Connection {
  let view = undescribed.get(connection);
  if (view === undefined) {
    view = Object.create(connection, { describe: omitted }) as pg.Connection;
    undescribed.set(connection, view);
  }
  return view;
}

function withoutDescribeAndExecute(connection: pg.Connection): pg.Connection {
  return Object.create(connection, { describe: omitted, execute: omitted });
}
