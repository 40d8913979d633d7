/**
 * Runs `roster serve` with the code that npm run dev has compiled into the folder of the first argument. It loads the packages
 * first, and the code after a message from the parent, because loading the packages takes most of the start. It sends a
 * message when the server serves, and stops if the parent exits.
 */
import { once } from 'node:events';
import { createRequire } from 'node:module';
import path from 'node:path';
import { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';

const started = once(process, 'message');
// Before the start, the signal has no handler.
process.once('disconnect', () => process.emit('SIGTERM', 'SIGTERM') || process.exit());
const { dependencies } = createRequire(import.meta.url)('../../package.json');
// A dependency of @peculiar/x509 requires that it is there.
await import('reflect-metadata');
await Promise.all(Object.keys(dependencies).map((name) => import(name)));
// The database's address, which is not known earlier.
const [settings] = await started;

const [, , code = ''] = process.argv;
const { run } = await import(pathToFileURL(path.join(code, 'src/cli/run.js')).href);
const exitCode = await run(['serve'], {
  env: { ...process.env, ...settings },
  stdin: process.stdin,
  // The command prints only where it listens, once it does. The log has its own stream.
  stdout: new Writable({
    write(_chunk, _encoding, done) {
      if (process.connected) process.send('serving');
      done();
    },
  }),
  stderr: process.stderr,
  signals: process,
  exit: (code) => process.exit(code),
});
process.exit(exitCode);
