/** Keys that a command creates for development, in a folder that only their owner can enter. */
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { UsageError } from './failure.js';

/** Its parent keeps the default mode, because it may be the data folder of the embedded Postgres. */
export async function makePrivateFolder(folder: string): Promise<void> {
  await mkdir(dirname(folder), { recursive: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { mode } = await stat(folder);
  if ((mode & 0o022) !== 0) throw new UsageError(`Other users can write to ${folder}. Run chmod 700 on it.`);
}

/** Returns whether the file is new. An existing file stays as it is. */
export async function writeOnce(path: string, content: string, mode = 0o600): Promise<boolean> {
  try {
    await writeFile(path, content, { mode, flag: 'wx' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

/** Undefined if the file does not exist. */
export async function readPrivate(path: string): Promise<string | undefined> {
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0) throw new UsageError(`Other users can read ${path}. Run chmod 600 on it.`);
    return await readFile(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
