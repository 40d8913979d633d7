/** Runs the Java client against the Roster at ROSTER_ADDRESS. Exits 75 where there is no JDK or Maven to build it with. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const cwd = import.meta.dirname;
const repository = process.env.ROSTER_REPO;
// Of the repository, because this folder may have been copied away.
const checks = pathToFileURL(path.join(repository, 'examples/clients/checks.mjs'));
const { checkClient, start } = await import(checks.href);

for (const tool of [
  ['javac', '--release', '17', '-version'],
  ['mvn', '-v'],
]) {
  const { code } = await start(tool, { cwd }).catch(() => ({ code: 1 }));
  if (code !== 0) {
    console.log(`no ${tool[0]} here, or one from before Java 17`);
    process.exit(75);
  }
}
const proto = path.join(repository, 'proto');
const { code, output } = await start(['mvn', '-q', 'package', `-Dproto=${proto}`], { cwd });
assert.equal(code, 0, output);
await checkClient(['java', '-jar', 'target/client.jar'], cwd);
