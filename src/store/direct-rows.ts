/**
 * Writes the rows of an import to the users while they arrive, in one transaction.
 *
 * It gives up if an email is taken or locked, if there are many rows, or if the client is slow. It then rolls back, and
 * returns the rows, which it has kept (docs/decisions/0032-small-imports-skip-the-staging.md).
 */
import { fieldColumnNames } from '../database/columns.js';
import type { ChangeAuthor } from '../model/change-author.js';
import { createdLines, createdTarget } from './changes.js';
import { CopyPieces, copyText } from './copy-pieces.js';
import type { StagedRow, StagedRows } from './staged-rows.js';

const usersTarget = `users (id, ${fieldColumnNames})`;

// It gives up when it has kept more. The rest of the current message is kept, too.
const keptBytesMax = 8 * 1024 * 1024;

// While the transaction is open, other calls that need one of its emails wait for the client of the import.
export const openMsMax = 2_000;

// The rows are not in the order of their keys, so two imports could wait for each other. Each gives up before Postgres
// looks for a deadlock, which it does after a second by default.
const lockTimeoutMs = 100;

export class DirectRows implements Disposable {
  count = 0;
  private state: 'new' | 'open' | 'closed' = 'new';
  private readonly kept: Buffer[] = [];
  private keptBytes = 0;
  private readonly pieces = new CopyPieces((piece) => this.send(piece));
  private timer: NodeJS.Timeout | undefined;
  private readonly createdLine: (id: string) => string;

  constructor(
    private readonly rows: Pick<StagedRows, 'copy' | 'query'>,
    private readonly openMs: number,
    author: ChangeAuthor | undefined,
  ) {
    this.createdLine = createdLines(author);
  }

  /** Resolves when more rows can be added, with false if it has given up. */
  async add(rows: readonly StagedRow[]): Promise<boolean> {
    for (const { id, fields } of rows) {
      const sent = this.pieces.add(`${copyText(id, fields)}\n`);
      this.count++;
      if (sent !== undefined) await sent;
    }
    return this.state !== 'closed';
  }

  /** Returns whether the transaction has written all rows, and can be committed. */
  async finish(): Promise<boolean> {
    await this.pieces.flush();
    const isWritten = this.state === 'open';
    this.close();
    return isWritten;
  }

  /** Writes nothing. Returns all rows, in pieces of lines. */
  async takeBack(): Promise<readonly Buffer[]> {
    void this.pieces.enqueue(() => this.rollBack());
    await this.pieces.flush();
    return this.kept;
  }

  /** Stops the timer, which would keep the rows in memory. The transaction ends with its connection. */
  [Symbol.dispose](): void {
    this.close();
  }

  private async send(piece: Buffer): Promise<void> {
    this.kept.push(piece);
    this.keptBytes += piece.length;
    if (this.state === 'closed') return;
    if (this.keptBytes > keptBytesMax) return this.rollBack();
    try {
      if (this.state === 'new') await this.begin();
      await this.rows.copy(usersTarget, piece);
      await this.rows.copy(createdTarget, Buffer.from(idsOf(piece).map(this.createdLine).join('')));
    } catch {
      // Fails if the connection is lost or the call has been cancelled. Staged rows cause every other error again.
      await this.rollBack();
    }
  }

  private async begin(): Promise<void> {
    this.state = 'open';
    this.timer = setTimeout(() => void this.pieces.enqueue(() => this.rollBack()), this.openMs).unref();
    await this.rows.query('begin');
    await this.rows.query(`set local lock_timeout = ${lockTimeoutMs}`);
  }

  private async rollBack(): Promise<void> {
    const isOpen = this.state === 'open';
    this.close();
    if (isOpen) await this.rows.query('rollback');
  }

  private close(): void {
    this.state = 'closed';
    clearTimeout(this.timer);
  }
}

const idCharacters = 36;
const lineFeed = 10;

/** The ids at the start of the lines. */
function idsOf(piece: Buffer): string[] {
  const ids: string[] = [];
  for (let start = 0; start < piece.length; start = piece.indexOf(lineFeed, start) + 1) {
    ids.push(piece.toString('latin1', start, start + idCharacters));
  }
  return ids;
}
