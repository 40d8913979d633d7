/**
 * Encodes rows in COPY's text format, and passes them on in pieces.
 *
 * Each piece is a separate COPY, so that no COPY waits for the caller. Memory does not depend on the number of rows.
 */
import { fieldColumns } from '../database/columns.js';
import type { UserInput } from '../model/user.js';

// Larger pieces are not faster.
const pieceBytes = 512 * 1024;

export class CopyPieces {
  private piece = Buffer.allocUnsafe(pieceBytes);
  private used = 0;
  // If it fails before it is awaited, the next await reports it.
  private sending: Promise<void> = Promise.resolve();

  /** `send` is not called before the previous call has resolved. The piece belongs to it. */
  constructor(private readonly send: (piece: Buffer) => Promise<void>) {}

  /**
   * Adds a line. If it returns a promise, await it before adding another one: one piece is being sent, and the next one
   * waits.
   */
  add(line: string): Promise<void> | undefined {
    // Each code unit takes at most three bytes in UTF-8.
    const bytesMax = line.length * 3;
    const sent = this.used + bytesMax > this.piece.length ? this.sendPiece(bytesMax) : undefined;
    this.used += this.piece.write(line, this.used);
    return sent;
  }

  /** Resolves when all lines have been sent. */
  async flush(): Promise<void> {
    if (this.used > 0) await this.sendPiece();
    await this.sending;
  }

  /** Runs `work` when the pieces that are waiting have been sent. */
  enqueue(work: () => Promise<void>): Promise<void> {
    this.sending = this.sending.then(work);
    this.sending.catch(() => {});
    return this.sending;
  }

  private async sendPiece(nextBytesMin = 0): Promise<void> {
    const piece = this.piece.subarray(0, this.used);
    this.piece = Buffer.allocUnsafe(Math.max(pieceBytes, nextBytesMin));
    this.used = 0;
    const previous = this.sending;
    void this.enqueue(() => this.send(piece));
    await previous;
  }
}

/** The id and the fields of a row, without a line end: https://www.postgresql.org/docs/18/sql-copy.html */
export function copyText(id: string, fields: UserInput): string {
  let text = id;
  for (const { property } of fieldColumns) text += `\t${copyValue(fields[property])}`;
  return text;
}

export function copyValue(value: UserInput[keyof UserInput]): string {
  if (value === undefined) return '{}';
  return escapeCopy(typeof value === 'string' ? value : JSON.stringify(value));
}

export function escapeCopy(text: string): string {
  return /[\\\t\n\r]/.test(text) ? text.replaceAll(/[\\\t\n\r]/g, (character) => copyEscapes[character] ?? '') : text;
}

// All characters that COPY interprets, except U+0000, which the model rejects.
const copyEscapes: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };
