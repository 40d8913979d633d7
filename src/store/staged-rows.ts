/**
 * Stores the rows of one import in a temporary table on a separate connection.
 *
 * Other sessions cannot see the table, and Postgres drops it when the connection closes. Memory does not depend on the
 * number of rows.
 */
import { randomBytes } from 'node:crypto';
import { finished } from 'node:stream/promises';
import { from as copyFrom } from 'pg-copy-streams';
import type { Row } from '../database/columns.js';
import type { Database } from '../database/database.js';
import { faultOf, isTableMissing } from '../database/errors.js';
import { transactionPoolerFault } from '../database/pooler.js';
import type { Session } from '../database/session.js';
import type { UserInput } from '../model/user.js';
import { CopyPieces, copyText } from './copy-pieces.js';
import { copyTarget, createStagedUsers } from './import-statements.js';

export interface StagedRow {
  /** Ascending over all calls. */
  row: number;
  id: string;
  fields: UserInput;
}

export class StagedRows implements AsyncDisposable {
  /** Aborted with the caller's signal, and with a Fault as soon as the connection is lost. */
  readonly signal: AbortSignal;
  count = 0;
  private readonly name = randomBytes(8).toString('hex');
  private readonly pieces = new CopyPieces((piece) => this.copy(copyTarget, piece));

  /** Opens a connection for one import. Throws the signal's reason after an abort, and Faults of the database. */
  static async open(database: Database, signal: AbortSignal): Promise<StagedRows> {
    const rows = new StagedRows(await database.openSession(signal, { keepsState: true }), signal);
    try {
      // Overrides timeouts of the server and the role, because only the caller limits how long an import takes.
      await rows.query('set statement_timeout = 0');
      await rows.query('set idle_session_timeout = 0');
      await rows.query('set idle_in_transaction_session_timeout = 0');
      await rows.query(createStagedUsers);
      return rows;
    } catch (error) {
      await rows[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(
    private readonly session: Session,
    callSignal: AbortSignal,
  ) {
    const lost = new AbortController();
    session.client.once('error', (error) => lost.abort(faultOf(error)));
    this.signal = AbortSignal.any([callSignal, lost.signal]);
  }

  /** Resolves when more rows can be added. */
  async add(rows: readonly StagedRow[]): Promise<void> {
    for (const { row, id, fields } of rows) await this.addLine(`${row}\t${copyText(id, fields)}\n`);
  }

  /** Adds the first rows, from pieces of lines without row numbers. */
  async addPieces(pieces: readonly Buffer[]): Promise<void> {
    for (const piece of pieces) {
      // The piece ends with a line end.
      for (const line of piece.toString().slice(0, -1).split('\n')) await this.addLine(`${this.count}\t${line}\n`);
    }
  }

  /** Resolves when all rows are in the table. */
  flush(): Promise<void> {
    return this.pieces.flush();
  }

  /** Removes rows with a statement that returns how many it has removed, and the numbers of the first of them. */
  async removeBy(statement: string, values: readonly unknown[]): Promise<{ count: number; rows: readonly number[] }> {
    const [[count, rows] = []] = (await this.query(statement, values)) as [count: number, rows: number[]][];
    this.count -= count ?? 0;
    return { count: count ?? 0, rows: rows ?? [] };
  }

  /** Runs a statement on the tables `staged_users` and `import_steps` of this import. */
  async query(statement: string, values?: readonly unknown[]): Promise<Row[]> {
    try {
      return await this.session.query(this.named(statement), values);
    } catch (error) {
      throw await this.faultOfMissingTable(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session[Symbol.asyncDispose]();
  }

  /** Copies lines to a table, whose name and columns are `target`. */
  async copy(target: string, lines: Buffer): Promise<void> {
    try {
      const statement = `copy ${target} from stdin (format text, encoding 'UTF8')`;
      const stream = this.session.client.query(copyFrom(this.named(statement)));
      stream.end(lines);
      await finished(stream);
    } catch (error) {
      this.signal.throwIfAborted();
      throw await this.faultOfMissingTable(faultOf(error));
    }
  }

  private addLine(line: string): Promise<void> | undefined {
    this.count++;
    return this.pieces.add(line);
  }

  /**
   * Gives the tables names that only this import uses. If a pooler in transaction mode is not detected, an import must
   * not find another import's rows.
   */
  private named(statement: string): string {
    return statement.replaceAll(
      /\b(?:staged_users|import_steps|merged_users|refused_users|merged_users_cursor)\b/g,
      `$&_${this.name}`,
    );
  }

  /**
   * If the statement ran on another server connection than the one with the staged rows, ends the connection with the
   * rows, which drops them.
   */
  private async faultOfMissingTable(error: unknown): Promise<unknown> {
    if (!isTableMissing(error)) return error;
    await this.session.query('rollback');
    await this.session.query('select pg_terminate_backend($1)', [this.session.backendPid]);
    return transactionPoolerFault();
  }
}
