/** The file of an import's rejected rows: never one that exists, and none is left where no row was rejected. */
import { open, rm } from 'node:fs/promises';
import { UsageError } from './failure.js';

export interface RejectedFile extends AsyncDisposable {
  write(text: string): Promise<void>;
}

/** Throws a UsageError where there is such a file already: it may hold corrections that somebody still needs. */
export async function openRejectedFile(path: string): Promise<RejectedFile> {
  const file = await open(path, 'wx').catch((error) => {
    const problem = error.code === 'EEXIST' ? 'exists already' : `cannot be written (${error.code})`;
    throw new UsageError(`${path}, which is for rejected rows, ${problem}.`);
  });
  let isEmpty = true;
  return {
    async write(text) {
      isEmpty &&= text === '';
      await file.appendFile(text);
    },
    async [Symbol.asyncDispose]() {
      await file.close();
      if (isEmpty) await rm(path);
    },
  };
}
