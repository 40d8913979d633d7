#!/usr/bin/env node
/** The command line's entry: hands the process to it, and ends it with the exit code, or with the npm that began it. */
import { run } from './cli/run.js';

// As app.ts does for a server: else an attribute of that name would be lost between a file and a message.
Reflect.deleteProperty(Object.prototype, '__proto__');

// npm passes a SIGTERM on to the shell between itself and this process, and the shell to nobody: the server would go on alone.
if (process.env.npm_lifecycle_event === 'serve' && process.env.npm_package_name === 'roster') endWithParent();

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

/** Nothing tells that a parent has gone: so this asks, once a second. */
function endWithParent(): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    process.emit('SIGTERM', 'SIGTERM');
  }, 1000).unref();
  // Ctrl-C reaches all of them, and another signal would end at once what is being ended in order.
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => clearInterval(timer));
}
