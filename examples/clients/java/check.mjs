/** Runs the Java client against the Roster at ROSTER_ADDRESS. Exits with 75 if a JDK or Maven is missing. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const cwd = import.meta.dirname;
const repository = process.env.ROSTER_REPO;
// Imported from the repository, because this folder may be a copy.
const checks = pathToFileURL(path.join(repository, 'examples/clients/checks.mjs'));
const { checkClient, start } = await import(checks.href);

for (const tool of [
  ['javac', '--release', '17', '-version'],
  ['mvn', '-v'],
]) {
  const { code } = await start(tool, { cwd }).catch(() => ({ code: 1 }));
  if (code !== 0) {
    console.log(`${tool[0]} is missing, or older than Java 17`);
    process.exit(75);
  }
}
const proto = path.join(repository, 'proto');
const { code, output } = await start(['mvn', '-q', 'package', `-Dproto=${proto}`], { cwd });
assert.equal(code, 0, output);
await checkClient(['java', '-jar', 'target/client.jar'], cwd);
