/**
 * Runs `roster serve` with the code that npm run dev has compiled into the folder of the first argument. Sends a message to
 * the parent when the server serves, and stops if the parent exits.
 */
import path from 'node:path';
import { Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';

const [, , code = ''] = process.argv;
const { run } = await import(pathToFileURL(path.join(code, 'src/cli/run.js')).href);

process.once('disconnect', () => process.emit('SIGTERM', 'SIGTERM'));
const exitCode = await run(['serve'], {
  env: process.env,
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
