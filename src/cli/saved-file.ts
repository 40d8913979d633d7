/**
 * Writes small files that a command leaves for its next run. It replaces the whole file: a reader finds the old or the new
 * content, even after a crash of the machine.
 */
import { open, rename } from 'node:fs/promises';

/** `mode` is the mode of the file, from before its content is written. */
export async function replaceFile(path: string, content: string, mode?: number): Promise<void> {
  const temporary = `${path}.tmp`;
  {
    await using file = await open(temporary, 'w', mode);
    // A file that an earlier run left behind may have another mode.
    if (mode !== undefined) await file.chmod(mode);
    await file.writeFile(content);
    // Without this, a crash could keep the rename but lose the content.
    await file.sync();
  }
  await rename(temporary, path);
}
