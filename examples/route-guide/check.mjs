/** Runs the server and the client, and checks their output. Needs no Roster. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const here = import.meta.dirname;

const server = spawn(process.execPath, ['server.ts'], {
  cwd: here,
  env: { ...process.env, ROUTE_GUIDE_ADDRESS: 'localhost:0' },
  stdio: ['ignore', 'pipe', 'inherit'],
});
try {
  let log = '';
  const address = await new Promise((resolve, reject) => {
    server.once('exit', (code) => reject(new Error(`The server exited with ${code}.`)));
    createInterface(server.stdout).on('line', (line) => {
      log += `${line}\n`;
      const [, address] = /^Serving on (\S+)$/.exec(line) ?? [];
      if (address !== undefined) resolve(address);
    });
  });

  const { stdout: output } = await promisify(execFile)(process.execPath, ['client.ts'], {
    cwd: here,
    env: { ...process.env, ROUTE_GUIDE_ADDRESS: address },
  });
  console.log(output);

  assert.match(output, /^GetFeature: Tbilisi\nGetFeature: no place at this point\nGetFeature: INVALID_ARGUMENT /);
  assert.match(output, /^ListFeatures: Copenhagen, Helsinki, Oslo, Riga, Stockholm$/m);
  // The spherical law of cosines, which is exact enough for cities, also gives 4,032 km.
  assert.match(output, /^RecordRoute: 7 points, 6 of them features, 4032 km$/m);
  assert.equal(output.match(/^RouteChat: /gm)?.length, 3);
  assert.match(output, /^Metadata, header: hello, the client$/m);
  assert.match(output, /^Metadata, trailer: server-memory-mb \d+$/m);
  assert.match(output, /^Deadline: DEADLINE_EXCEEDED$/m);
  assert.match(output, /^Cancellation: cancelled an endless call$/m);

  const [, before, taken, of, held] =
    /at the start the server uses (\d+) MB\n.*after (\d+) of (\d+) notes, the server uses (\d+) MB\n.*all \3 notes/
      .exec(output)
      ?.map(Number) ?? [];
  assert(taken < of / 2, `The server read ${taken} of ${of} notes of a client that does not read.`);
  // A server without flow control would buffer 177 MB of replies.
  assert(held - before < 60, `The server grew from ${before} to ${held} MB while its client did not read.`);

  server.kill();
  await once(server, 'close');
  assert.match(log, /^\/RouteGuide\/RecordRoute: cancelled by the client or by its deadline, /m);
  assert.match(log, /^\/RouteGuide\/RouteChat: cancelled by the client or by its deadline, /m);
} finally {
  server.kill();
}
