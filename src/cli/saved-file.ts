/**
 * Writes small files that a command leaves for its next run. It replaces the whole file: a reader finds the old or the new
 * content, even after a crash of the machine.
 */
import { open, rename, rm } from 'node:fs/promises';

/** `mode` is the mode of the file, from before its content is written. */
export async function replaceFile(path: string, content: string, mode?: number): Promise<void> {
  // By the process id, so that two commands do not write to the same file.
  const temporary = `${path}.${process.pid}.tmp`;
  await rm(temporary, { force: true });
  try {
    {
      // In a shared folder such as /tmp, `wx` does not follow a link that another user has placed there.
      await using file = await open(temporary, 'wx', mode);
      await file.writeFile(content);
      // Without this, a crash could keep the rename but lose the content.
      await file.sync();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
