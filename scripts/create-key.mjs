/** Creates an API key in the database of a server that runs with `env`, and returns it. */
import { execFileSync } from 'node:child_process';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');

export function createKey(env, ...roles) {
  const args = ['dist/src/main.js', 'key', 'create', '--name', 'checks', ...roles.flatMap((role) => ['--role', role])];
  return execFileSync(process.execPath, args, { cwd: root, env, encoding: 'utf8' }).trim();
}
