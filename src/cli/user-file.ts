/**
 * Opens a file of users as a stream of text, recognizes its format, and counts the bytes that have been read. The file may be
 * larger than the memory.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { addAbortSignal, type Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Option } from 'commander';
import type { Row, RowProblem } from '../user-files/columns.js';
import { type DecodedText, decodeText } from '../user-files/file-text.js';
import type { Column } from '../user-files/header.js';
import { UsageError } from './failure.js';
import type { Terminal } from './terminal.js';

// Ctrl-C also ends the program that writes to a pipe, which looks like the end of the file. This is long enough for our own
// signal to arrive.
const pipeEndMs = 100;

export type UserFormat = 'csv' | 'ndjson';

export function formatOption(defaults: string): Option {
  return new Option('--format <format>', `csv or ndjson (default: ${defaults})`).choices(['csv', 'ndjson']);
}

/** Reads rows, and formats rejected rows so that they can be corrected and read again. */
export interface UserFile {
  /** The columns of a file with a header. */
  readonly columns?: readonly Column[];
  /** The character between the cells of CSV. */
  readonly delimiter?: string;
  readonly rows: AsyncIterable<Row>;
  /** Returns whole lines. The first call also returns the header, if the format has one. */
  formatRejected(row: Row, problem: RowProblem): string;
}

/** Returns `requested`, or else the format of the file's extension. `-` has no extension. */
export function formatOf(file: string, requested: UserFormat | undefined): UserFormat | undefined {
  if (requested !== undefined) return requested;
  const extension = extname(file).toLowerCase();
  if (extension === '.csv' || extension === '.tsv') return 'csv';
  return extension === '.ndjson' || extension === '.jsonl' ? 'ndjson' : undefined;
}

export interface TextSource extends DecodedText, AsyncDisposable {
  /** Unset if it is unknown, as for a pipe. */
  readonly bytesTotal: number | undefined;
  bytesRead(): number;
}

/** `-` is the standard input. Aborting the signal ends the reading. */
export async function openText(
  file: string,
  encoding: string | undefined,
  { stdin }: Terminal,
  signal: AbortSignal,
): Promise<TextSource> {
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

  async function* read(): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of stream as AsyncIterable<Uint8Array>) {
        yield chunk;
        bytesRead += chunk.length;
      }
      if (file === '-') await sleep(pipeEndMs, undefined, { signal });
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  }

  return {
    ...decodeText(read(), encoding),
    bytesTotal,
    bytesRead: () => bytesRead,
    async [Symbol.asyncDispose]() {
      stream.destroy();
    },
  };
}
