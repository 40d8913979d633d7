/**
 * Users as the file that `roster import` takes: all that match a filter from one snapshot, or, with words to search for,
 * page by page. Holds no more than a part of them where the browser can write to a file itself.
 */
import type { User } from '../generated/users/v1/user.js';
import { csvHeader, formatCsvUsers } from './csv.js';
import { CallError, type Directory } from './directory.js';
import { createFile } from './import-users.js';
import { isUnclear } from './save-user.js';

// As many of the largest users as a message may hold are about 200; fewer come where more would not fit.
const pageSize = 500;

const failuresMax = 5;
const backoffMs = 250;

export interface Selection {
  readonly filter: string;
  readonly query: string;
  readonly orderBy: string;
}

/**
 * The users in parts. Without a query in the order of ids and from one snapshot, and after a broken connection from behind
 * the last part on; with one, in the order of the list.
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
      const mayMend = isUnclear(error) || (error instanceof CallError && error.reason === 'OVERLOADED');
      if (!mayMend || ++failures >= failuresMax) throw error;
      await new Promise((resolve) => setTimeout(resolve, backoffMs * 2 ** failures));
      signal.throwIfAborted();
    }
  }
}

/** Where an export goes. */
export interface Sink {
  write(text: string): Promise<void>;
  /** The file, where the person has still to save it. */
  close(): Promise<Blob | undefined>;
  /** Leaves nothing behind. */
  abort(): Promise<void>;
}

type SavePicker = (options: {
  suggestedName: string;
  types: { accept: Record<string, string[]> }[];
}) => Promise<{ createWritable(): Promise<FileSystemWritableFileStream> }>;

/** Asks where to, in browsers that can write to a file by themselves; undefined where the person says nowhere. */
export async function openSink(suggestedName: string): Promise<Sink | undefined> {
  const { showSaveFilePicker } = window as unknown as { showSaveFilePicker?: SavePicker };
  if (showSaveFilePicker === undefined) {
    const file = createFile();
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

/** Writes all of them; `onRows` is told how many there are so far. Gives the file where it is still to be saved. */
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

/** Saves a file under the name, as a download. */
export function download(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  // The download has begun by the next turn of the loop, and then keeps the file itself.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
