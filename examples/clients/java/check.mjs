/** Runs the Java client against the Roster at ROSTER_ADDRESS. Exits 75 where there is no JDK or Maven to build it with. */
import assert from 'node:assert/strict';
import path from 'node:path';
import { checkClient, start } from '../checks.mjs';

const cwd = import.meta.dirname;

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
const proto = path.join(process.env.ROSTER_REPO, 'proto');
const { code, output } = await start(['mvn', '-q', 'package', `-Dproto=${proto}`], { cwd });
assert.equal(code, 0, output);
await checkClient(['java', '-jar', 'target/client.jar'], cwd);
