#!/usr/bin/env node
/** Runs the command line in this process, until it returns an exit code or the npm that started it ends. */
import { run } from './cli/run.js';

// npm sends SIGTERM only to the shell between itself and this process, so the server would continue alone.
if (process.env.npm_lifecycle_event === 'serve' && process.env.npm_package_name === 'roster') endWithParent();

const exitCode = await run(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signals: process,
  exit: (code) => process.exit(code),
});

// All work is done. Exit now even if a database connection still has pending promises.
process.exit(exitCode);

/** Checks once a second whether the parent has ended, because no event reports it. */
function endWithParent(): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    process.emit('SIGTERM', 'SIGTERM');
  }, 1000).unref();
  // Ctrl-C reaches all of these processes, and a second signal would interrupt the orderly shutdown.
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => clearInterval(timer));
}
