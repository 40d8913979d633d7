/** Folders that are written under a temporary name and then renamed, so that a killed process leaves no partial one. */
import * as fs from 'node:fs';
import path from 'node:path';
import { isAlive } from './process.js';

/** Removes unfinished files of dead processes, named `<prefix><pid>-…`. */
export function removeLeftovers(folder: string, prefix: string): void {
  // No initdb and no copy takes an hour. The age matters because pids are soon reused in a container.
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

/** Moves a finished folder to its target. If another process was faster, deletes this one. */
export function renameUnlessExists(finished: string, target: string): void {
  try {
    fs.renameSync(finished, target);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['ENOTEMPTY', 'EEXIST', 'EPERM'].includes(code) || !fs.existsSync(target)) throw error;
    fs.rmSync(finished, { recursive: true, force: true });
  }
}
