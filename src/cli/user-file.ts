/**
 * A file of users that is read as a stream: where its bytes come from, how far they have been read, and what format
 * they are in. Nothing of it is kept, so that its size does not matter.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { addAbortSignal, type Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Option } from 'commander';
import { UsageError } from './failure.js';
import type { Terminal } from './terminal.js';
import type { Row, RowProblem } from './user-columns.js';

// Ctrl-C also ends the program on the other side of a pipe, and that end looks like the file's: time for our own signal.
const pipeEndMs = 100;

export type UserFormat = 'csv' | 'ndjson';

export function formatOption(defaults: string): Option {
  return new Option('--format <format>', `csv or ndjson (default: ${defaults})`).choices(['csv', 'ndjson']);
}

/** Rows as they are read, and a rejected one as text that can be corrected and read again. */
export interface UserFile {
  readonly rows: AsyncIterable<Row>;
  /** Whole lines; with the first one comes what a file of this format begins with. */
  formatRejected(row: Row, problem: RowProblem): string;
}

/** The file as a whole makes no sense from `line` on. */
export class UnreadableFile extends UsageError {
  constructor(problem: string, line?: number) {
    super(
      line === undefined
        ? `The file cannot be read: ${problem}.`
        : `The file cannot be read from line ${line} on: ${problem}.`,
    );
  }
}

/** By what follows the last dot of a file's name; `-` has no name. */
export function formatOf(file: string, asked: UserFormat | undefined): UserFormat | undefined {
  if (asked !== undefined) return asked;
  const extension = extname(file).toLowerCase();
  if (extension === '.csv') return 'csv';
  return extension === '.ndjson' || extension === '.jsonl' ? 'ndjson' : undefined;
}

export interface TextSource {
  readonly text: AsyncIterable<string>;
  /** Unset where nobody knows: a pipe. */
  readonly bytesTotal: number | undefined;
  bytesRead(): number;
}

/** `-` is the standard input. Aborting the signal ends the reading. */
export async function openText(file: string, { stdin }: Terminal, signal: AbortSignal): Promise<TextSource> {
  let stream: Readable = stdin;
  let bytesTotal: number | undefined;
  if (file !== '-') {
    const stats = await stat(file).catch((error) => {
      throw new UsageError(`${file} cannot be read (${error.code}).`);
    });
    if (stats.isDirectory()) throw new UsageError(`${file} is a folder.`);
    if (stats.isFile()) bytesTotal = stats.size;
    stream = createReadStream(file, { highWaterMark: 262_144 });
  }
  addAbortSignal(signal, stream);
  let bytesRead = 0;

  async function* decode(): AsyncGenerator<string> {
    const decoder = new TextDecoder('utf-8', { fatal: true });
    try {
      for await (const chunk of stream as AsyncIterable<Uint8Array>) {
        yield decoder.decode(chunk, { stream: true });
        bytesRead += chunk.length;
      }
      if (file === '-') await sleep(pipeEndMs, undefined, { signal });
      yield decoder.decode();
    } catch (error) {
      signal.throwIfAborted();
      // Anything else would be changed on its way, a letter to a question mark.
      if (error instanceof TypeError) throw new UnreadableFile(`behind byte ${bytesRead} it is not UTF-8`);
      throw error;
    }
  }

  return { text: decode(), bytesTotal, bytesRead: () => bytesRead };
}
