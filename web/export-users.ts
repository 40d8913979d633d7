/**
 * Exports users to a CSV file that `roster import` accepts. Reads them from one snapshot, or page by page if there are
 * search words. If the browser can write to a file, they are not all in memory at the same time.
 */
import type { User } from '../generated/users/v1/user.js';
import { createBlobWriter } from './blob-writer.js';
import { CallError } from './call-error.js';
import { csvHeader, formatCsvUsers } from './csv.js';
import type { Directory } from './directory.js';
import { isUnclear } from './save-user.js';

// A message holds about 200 of the largest users. The server sends fewer than requested if more do not fit.
const pageSize = 500;

const failuresMax = 5;
const backoffMs = 250;

export interface Selection {
  readonly filter: string;
  readonly query: string;
  readonly orderBy: string;
}

/**
 * Yields the users in parts. With a query, they are in the order of the list. Without one, they are ordered by id, from
 * one snapshot. If the connection breaks, it resumes after the last part.
 */
export async function* readUsers(
  directory: Directory,
  { filter, query, orderBy }: Selection,
  signal: AbortSignal,
): AsyncGenerator<readonly User[]> {
  let token = '';
  let failures = 0;
  for (;;) {
    try {
      if (query === '') {
        for await (const { users, resumeToken } of directory.exportUsers({ filter, resumeToken: token }, { signal })) {
          yield users;
          token = resumeToken;
          failures = 0;
        }
        return;
      }
      const { users, nextPageToken } = await directory.listUsers(
        { filter, query, orderBy, pageSize, pageToken: token },
        { signal },
      );
      yield users;
      failures = 0;
      token = nextPageToken;
      if (token === '') return;
    } catch (error) {
      // The next call waits until the session has a valid token again.
      const isExpired = error instanceof CallError && error.code === 'UNAUTHENTICATED';
      const canRetry = isExpired || isUnclear(error) || (error instanceof CallError && error.reason === 'OVERLOADED');
      if (!canRetry || ++failures >= failuresMax) throw error;
      await new Promise((resolve) => setTimeout(resolve, backoffMs * 2 ** failures));
      signal.throwIfAborted();
    }
  }
}

export interface Sink {
  write(text: string): Promise<void>;
  /** Returns the file if the page must still download it. */
  close(): Promise<Blob | undefined>;
  /** Discards the file. */
  abort(): Promise<void>;
}

type SavePicker = (options: {
  suggestedName: string;
  types: { accept: Record<string, string[]> }[];
}) => Promise<{ createWritable(): Promise<FileSystemWritableFileStream> }>;

/**
 * Opens a file that the user chooses, and returns undefined if the user cancels. If the browser cannot write to files,
 * collects the text for a download.
 */
export async function openSink(suggestedName: string): Promise<Sink | undefined> {
  const { showSaveFilePicker } = window as unknown as { showSaveFilePicker?: SavePicker };
  if (showSaveFilePicker === undefined) {
    const file = createBlobWriter('text/csv');
    return { write: async (text) => file.write(text), close: async () => file.blob(), abort: async () => {} };
  }
  try {
    const handle = await showSaveFilePicker({ suggestedName, types: [{ accept: { 'text/csv': ['.csv'] } }] });
    const stream = await handle.createWritable();
    return {
      write: (text) => stream.write(text),
      close: async () => void (await stream.close()),
      abort: () => stream.abort(),
    };
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') return undefined;
    throw error;
  }
}

/** Writes all users and reports the count so far to `onRows`. Returns the file if the page must still download it. */
export async function writeUsers(
  sink: Sink,
  parts: AsyncIterable<readonly User[]>,
  onRows: (rows: number) => void,
): Promise<Blob | undefined> {
  try {
    await sink.write(csvHeader);
    let rows = 0;
    for await (const users of parts) {
      await sink.write(formatCsvUsers(users));
      rows += users.length;
      onRows(rows);
    }
    return await sink.close();
  } catch (error) {
    await sink.abort().catch(() => {});
    throw error;
  }
}

export function download(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // After the download has started, the browser no longer needs the URL.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
