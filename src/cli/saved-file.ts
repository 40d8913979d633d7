/**
 * Small files that a command leaves for its next run. Each is replaced as a whole: whoever reads one finds the old
 * content or the new one, also after a crash of the machine.
 */
import { open, rename } from 'node:fs/promises';

export async function replaceFile(path: string, content: string): Promise<void> {
  const beside = `${path}.tmp`;
  {
    await using file = await open(beside, 'w');
    await file.writeFile(content);
    // Else the new name could outlive a crash that the content does not.
    await file.sync();
  }
  await rename(beside, path);
}
