/** Moves finished folders from their temporary names into place, and removes what killed processes left unfinished. */
import * as fs from 'node:fs';
import path from 'node:path';
import { isAlive } from './process.js';

/** Removes unfinished files and folders of processes that no longer run. Their names are `<prefix><pid>-…`. */
export function removeLeftovers(folder: string, prefix: string): void {
  // Much longer than an initdb or a copy takes. The age counts too, because containers soon reuse a pid.
  const leftoverMs = 3_600_000;
  for (const name of fs.readdirSync(folder)) {
    if (!name.startsWith(prefix)) continue;
    const file = path.join(folder, name);
    const changed = fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs;
    if (changed === undefined) continue;
    const pid = Number.parseInt(name.slice(prefix.length), 10);
    if (!isAlive(pid) || Date.now() - changed > leftoverMs) fs.rmSync(file, { recursive: true, force: true });
  }
}

/** Moves a finished folder to its target. If another process has already created the target, deletes the folder. */
export function renameUnlessExists(finished: string, target: string): void {
  try {
    fs.renameSync(finished, target);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['ENOTEMPTY', 'EEXIST', 'EPERM'].includes(code) || !fs.existsSync(target)) throw error;
    fs.rmSync(finished, { recursive: true, force: true });
  }
}
