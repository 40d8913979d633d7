/** The file of an import's rejected rows: never one that exists, and none is left where no row was rejected. */
import { open, rm } from 'node:fs/promises';
import { UsageError } from './failure.js';
import type { DecodedText } from './file-text.js';

export interface RejectedFile extends AsyncDisposable {
  write(text: string): Promise<void>;
}

/**
 * Throws a UsageError if there is such a file already: it may hold corrections that somebody still needs.
 *
 * It is UTF-8. If the imported file is something else, it begins with a byte order mark, so that the same command reads it.
 */
export async function openRejectedFile(path: string, source: DecodedText): Promise<RejectedFile> {
  const file = await open(path, 'wx').catch((error) => {
    const problem = error.code === 'EEXIST' ? 'exists already' : `cannot be written (${error.code})`;
    throw new UsageError(`${path}, which is for rejected rows, ${problem}.`);
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
