/** Runs the Go client against the Roster at ROSTER_ADDRESS. Exits with 75 if Go is missing. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const cwd = import.meta.dirname;
const repository = process.env.ROSTER_REPO;
// Imported from the repository, because this folder may be a copy.
const checks = pathToFileURL(path.join(repository, 'examples/clients/checks.mjs'));
const { checkClient, start } = await import(checks.href);

const proto = path.join(repository, 'proto');
// Uses Roster's own buf, because building another one takes minutes.
const env = { PATH: [path.join(repository, 'node_modules/.bin'), process.env.PATH].join(path.delimiter) };

const version = await start(['go', 'list', '-m'], { cwd }).catch(() => ({ code: 1 }));
if (version.code !== 0) {
  console.log('Go 1.26 or later is missing');
  process.exit(75);
}
for (const command of [
  ['buf', 'generate', proto, '--path', path.join(proto, 'users')],
  ['go', 'vet', './...'],
  ['go', 'build', '-o', 'gen/client', '.'],
]) {
  const { code, output } = await start(command, { cwd, env });
  assert.equal(code, 0, output);
}
await checkClient([path.join(cwd, 'gen/client')], cwd);
