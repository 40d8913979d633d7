#!/usr/bin/env node
/** The command line's entry: hands the process to it and knows nothing else. */
import { run } from './cli/run.js';

process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signals: process,
  exit: (code) => process.exit(code),
});
