#!/usr/bin/env node
/** The command line's entry: hands the process to it, ends it with the exit code, and knows nothing else. */
import { run } from './cli/run.js';

// As app.ts does for a server: else an attribute of that name would be lost between a file and a message.
Reflect.deleteProperty(Object.prototype, '__proto__');

const exitCode = await run(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signals: process,
  exit: (code) => process.exit(code),
});

// All that was to be done or written has been; what may still wait for a database that does not answer has no say.
process.exit(exitCode);
