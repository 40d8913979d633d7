/** Writes an import's rejected rows. Never overwrites a file, and leaves no file if no row was rejected. */
import { open, rm } from 'node:fs/promises';
import type { DecodedText } from '../user-files/file-text.js';
import { UsageError } from './failure.js';

export interface RejectedFile extends AsyncDisposable {
  write(text: string): Promise<void>;
}

/**
 * Throws a UsageError if the file exists, because it may have corrections that somebody still needs.
 *
 * The file is UTF-8. If the imported file is not plain UTF-8, it begins with a byte order mark, so that the same
 * command reads it.
 */
export async function openRejectedFile(path: string, source: DecodedText): Promise<RejectedFile> {
  const file = await open(path, 'wx').catch((error) => {
    const problem = error.code === 'EEXIST' ? 'already exists' : `cannot be written (${error.code})`;
    throw new UsageError(`The file for rejected rows, ${path}, ${problem}.`);
  });
  let isEmpty = true;
  return {
    async write(text) {
      if (text === '') return;
      const mark = isEmpty && !source.isPlainUtf8() ? '\ufeff' : '';
      isEmpty = false;
      await file.appendFile(mark + text);
    },
    async [Symbol.asyncDispose]() {
      await file.close();
      if (isEmpty) await rm(path);
    },
  };
}
