/**
 * Exports users to a file. Reads all that match a filter from one snapshot, or page by page if there are search words. If
 * the browser can write to a file, they are not all in memory at the same time.
 */
import type { User } from '../../generated/users/v1/user.js';
import { attributePath } from '../../src/fields.js';
import type { ListQuery } from '../address/list-query.js';
import { type BulkTarget, readMatches, readTarget } from '../calls/bulk-target.js';
import { CallError } from '../calls/call-error.js';
import type { Directory } from '../calls/directory.js';
import { pause } from '../calls/pause.js';
import { isUnclear } from '../calls/save-user.js';
import { sentFilterOf } from '../calls/sent-filter.js';
import { createBlobWriter } from '../ui/download.js';
import type { ExportFile } from './export-format.js';

/** More columns would not help in a spreadsheet. */
const missingMax = 200;

const failuresMax = 5;
const backoffMs = 250;

/**
 * Yields the users in parts. With a query, they are in the order of the list. Without one, they are ordered by id, from
 * one snapshot. Chosen users are in the order in which they were chosen.
 */
export async function* readUsers(
  directory: Directory,
  target: BulkTarget,
  signal: AbortSignal,
): AsyncGenerator<readonly User[]> {
  if (!target.isAll) {
    yield* readTarget(directory, target, { signal });
    return;
  }
  const { query } = target;
  const parts = query.query === '' ? readSnapshot(directory, query, signal) : readMatches(directory, query, { signal });
  for await (const users of parts) yield users.filter(({ id }) => !target.excluded.has(id));
}

/** Adds to `missing` the attributes of users that the columns lack, as long as there are few of them. */
export async function* watchAttributes(
  parts: AsyncIterable<readonly User[]>,
  columns: readonly string[],
  missing: Set<string>,
): AsyncGenerator<readonly User[]> {
  const known = new Set(columns);
  for await (const users of parts) {
    for (const { attributes = {} } of users) {
      for (const key of Object.keys(attributes)) {
        if (!known.has(attributePath(key)) && missing.size < missingMax) missing.add(key);
      }
    }
    yield users;
  }
}

/** If the connection breaks, it resumes after the last part. */
async function* readSnapshot(
  directory: Directory,
  { filter: shown }: ListQuery,
  signal: AbortSignal,
): AsyncGenerator<readonly User[]> {
  // The token is valid only for this filter, also if a new day begins meanwhile.
  const filter = await sentFilterOf(shown);
  let token = '';
  let failures = 0;
  for (;;) {
    try {
      for await (const { users, resumeToken } of directory.exportUsers({ filter, resumeToken: token }, { signal })) {
        yield users;
        token = resumeToken;
        failures = 0;
      }
      return;
    } catch (error) {
      // The next call waits until the session has a valid token again.
      const isExpired = error instanceof CallError && error.code === 'UNAUTHENTICATED';
      const canRetry = isExpired || isUnclear(error) || (error instanceof CallError && error.reason === 'OVERLOADED');
      if (!canRetry || ++failures >= failuresMax) throw error;
      await pause(backoffMs * 2 ** failures, signal);
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
export async function openSink(
  suggestedName: string,
  { type, extension }: Pick<ExportFile, 'type' | 'extension'>,
): Promise<Sink | undefined> {
  const { showSaveFilePicker } = window as unknown as { showSaveFilePicker?: SavePicker };
  if (showSaveFilePicker === undefined) {
    const file = createBlobWriter(type);
    return { write: async (text) => file.write(text), close: async () => file.blob(), abort: async () => {} };
  }
  try {
    const handle = await showSaveFilePicker({ suggestedName, types: [{ accept: { [type]: [`.${extension}`] } }] });
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
  file: ExportFile,
  parts: AsyncIterable<readonly User[]>,
  onRows: (rows: number) => void,
): Promise<Blob | undefined> {
  try {
    await sink.write(file.header);
    let rows = 0;
    for await (const users of parts) {
      await sink.write(file.format(users));
      rows += users.length;
      onRows(rows);
    }
    await sink.write(file.footer);
    return await sink.close();
  } catch (error) {
    await sink.abort().catch(() => {});
    throw error;
  }
}
