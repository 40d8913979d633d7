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
  return send(client, statement, values, '', ['describe']);
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
  await send(client, { name: '', text }, values, portal, ['describe', 'execute']);
}

function send(
  client: pg.ClientBase,
  { name, text }: Statement,
  values: readonly unknown[],
  portal: string,
  omitted: readonly (keyof pg.Connection)[],
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
      submit: (connection: pg.Connection) => submit(without(connection, omitted)),
    }),
  );
  return promise;
}

/**
 * A connection that does not send some of the messages. The driver asks Postgres for a description of the columns with
 * each statement, which costs as much as ten rows and is of no use for rows that nothing parses.
 */
function without(connection: pg.Connection, methods: readonly (keyof pg.Connection)[]): pg.Connection {
  return Object.create(connection, Object.fromEntries(methods.map((method) => [method, { value: () => {} }])));
}
