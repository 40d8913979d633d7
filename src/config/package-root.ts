/** The package's folder, which is the same for the code in src/ and in dist/src/, its version, and its command. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

export function packageRoot(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

/** The version in package.json. */
export function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };
  return version;
}

/** The command to run Roster: the script in a clone, otherwise the installed program. */
export function commandName(): string {
  return isClone() ? './roster' : 'roster';
}

/** Whether this program runs in a clone of the repository, and not in an installed package or in the image. */
export function isClone(): boolean {
  return existsSync(join(packageRoot(), 'scripts', 'setup.mjs'));
}
