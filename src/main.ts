#!/usr/bin/env node
/** Runs the command line in this process, until it returns an exit code or the npm that started it ends. */
import { createRequire } from 'node:module';

requireSupportedNode();

// Users cannot act on deprecations in libraries. grpc-js causes one with each TLS connection to an IP address.
process.noDeprecation = true;

// npm sends SIGTERM only to the shell between itself and this process, so the server would continue alone.
if (process.env.npm_lifecycle_event === 'serve' && process.env.npm_package_name === '@roster-directory/roster')
  endWithParent();

// The first process of a container ignores signals without a handler, and run() has its own only after it is loaded.
const signals = ['SIGINT', 'SIGTERM'] as const;
const exitEarly = (signal: NodeJS.Signals) => process.exit(signal === 'SIGINT' ? 130 : 143);
for (const signal of signals) process.on(signal, exitEarly);
// Not a static import, which an unsupported Node would load before the check.
const { run } = await import('./cli/run.js');
const running = run(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signals: process,
  exit: (code) => process.exit(code),
});
// Now that run() handles signals. Without any handler in between, Node would lose a signal that has just arrived.
for (const signal of signals) process.off(signal, exitEarly);
const exitCode = await running;

// All work is done. Exit now even if a database connection still has pending promises.
process.exit(exitCode);

/** Exits with an error if this Node is older than package.json requires. */
function requireSupportedNode(): void {
  const { engines } = createRequire(import.meta.url)('@roster-directory/roster/package.json') as {
    engines: { node: string };
  };
  const nodeMin = engines.node.replace('>=', '');
  if (process.versions.node.localeCompare(nodeMin, 'en', { numeric: true }) >= 0) return;
  const problem = `Roster needs Node ${nodeMin} or later, but this is Node ${process.versions.node}.`;
  process.stderr.write(`error: ${problem} Install a newer one (https://nodejs.org).\n`);
  process.exit(1);
}

/** Checks once a second whether the parent has ended, because no event reports it. */
function endWithParent(): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    process.emit('SIGTERM', 'SIGTERM');
  }, 1000).unref();
  // After Ctrl-C, npm and its shell end too. A second signal would interrupt the orderly shutdown.
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => clearInterval(timer));
}
