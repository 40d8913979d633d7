/**
 * Calls Roster with tools that know HTTP/2 and nothing of gRPC, and with reflection: `node test/clients/tools.mjs`. It needs
 * curl, and nghttp and h2load of nghttp2-client.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAuthority } from '../certificates.ts';
import { run, startRoster, withFolder } from './roster.mjs';

const runMsMax = 60_000;
const loadCalls = 1000;
const messagePrefixBytes = 5;
const callerMethod = 'users.v1.UserService/GetCaller';

for (const tool of ['curl', 'nghttp', 'h2load']) {
  if (spawnSync(tool, ['--version']).status === 0) continue;
  console.log(`skipped: cannot run ${tool}`);
  process.exit(77);
}
await withFolder(async (folder) => {
  const authority = createAuthority();
  const { cert, key } = authority.issue('localhost');
  const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem'), ca: join(folder, 'ca.pem') };
  writeFileSync(files.cert, cert);
  writeFileSync(files.key, key);
  writeFileSync(files.ca, authority.cert);
  for (const settings of [{}, { TLS_CERT: files.cert, TLS_KEY: files.key }]) {
    const scheme = settings.TLS_CERT === undefined ? 'http' : 'https';
    console.log(`== ${scheme}`);
    const place = join(folder, scheme);
    mkdirSync(place);
    const roster = await startRoster(place, settings);
    try {
      const target = { folder: place, url: `${scheme}://${roster.address}`, token: roster.createToken(), ca: files.ca };
      await checkCurl(target);
      await checkNghttp(target);
      await checkLoad(target);
      await checkReflection(target);
    } finally {
      await roster.stop();
    }
  }
});

/** Writes a message with its prefix to a file, and returns its path. */
function writeMessage(folder, message = Buffer.alloc(0)) {
  const prefix = Buffer.alloc(messagePrefixBytes);
  prefix.writeUInt32BE(message.length, 1);
  const file = join(folder, 'request');
  writeFileSync(file, Buffer.concat([prefix, message]));
  return file;
}

function call(command) {
  return run(command, { timeout: runMsMax, isQuiet: true });
}

async function checkCurl({ folder, url, token, ca }) {
  const version = url.startsWith('https') ? ['--http2', '--cacert', ca] : ['--http2-prior-knowledge'];
  const body = join(folder, 'body');
  const fields = ['content-type: application/grpc', 'te: trailers', `authorization: Bearer ${token}`];
  const curl = (method, message) =>
    call([
      'curl',
      ...['-sS', ...version, '--dump-header', '-', '--output', body, ...fields.flatMap((field) => ['-H', field])],
      ...['--data-binary', `@${writeMessage(folder, message)}`, `${url}/${method}`],
    ]);

  const passed = await curl(callerMethod);
  assert.match(passed, /^HTTP\/2 200 \r\n/);
  assert.match(passed, /\r\ncontent-type: application\/grpc\S*\r\n/);
  // curl prints trailers after the header.
  assert.match(passed, /\r\n\r\n(?:.*\r\n)*grpc-status: 0\r\n/);
  const message = readFileSync(body);
  assert.equal(message.readUInt8(0), 0);
  assert.equal(message.readUInt32BE(1), message.length - messagePrefixBytes);
  assert.match(message.toString('latin1'), /checks/);

  // GetUserRequest.id, as a field of type string.
  const id = '00000000-0000-7000-8000-000000000000';
  const failed = await curl('users.v1.UserService/GetUser', Buffer.from(`\x0a${String.fromCharCode(id.length)}${id}`));
  assert.match(failed, /^HTTP\/2 200 \r\n/);
  assert.match(failed, /\r\ngrpc-status: 5\r\n/);
  assert.match(failed, /\r\ngrpc-message: The user does not exist\.\r\n/);
  assert.match(failed, /\r\ngrpc-status-details-bin: \S+\r\n/);
  console.log('curl: passed');
}

async function checkNghttp({ folder, url, token }) {
  const fields = [':method: POST', 'content-type: application/grpc', 'te: trailers', `authorization: Bearer ${token}`];
  const data = writeMessage(folder);
  const output = await call([
    'nghttp',
    ...['--null-out', '--verbose', '--no-verify-peer', ...fields.flatMap((field) => ['-H', field])],
    ...['--data', data, `${url}/${callerMethod}`],
  ]);
  assert.match(output, /recv \(stream_id=\d+\) :status: 200/);
  assert.match(output, /recv \(stream_id=\d+\) grpc-status: 0/);
  console.log('nghttp: passed');
}

async function checkLoad({ folder, url, token }) {
  const fields = ['content-type: application/grpc', 'te: trailers', `authorization: Bearer ${token}`];
  const output = await call([
    'h2load',
    ...['--requests', String(loadCalls), '--clients', '5', '--max-concurrent-streams', '20'],
    ...[...fields.flatMap((field) => ['-H', field]), '--data', writeMessage(folder), `${url}/${callerMethod}`],
  ]);
  assert.match(output, new RegExp(`^requests: .* ${loadCalls} succeeded, 0 failed, 0 errored, 0 timeout$`, 'm'));
  console.log(`h2load: ${loadCalls} calls`);
}

/** buf reads the schema from the server. */
async function checkReflection({ url, token, ca }) {
  const version = url.startsWith('https') ? ['--cacert', ca] : ['--http2-prior-knowledge'];
  const field = `authorization: Bearer ${token}`;
  const output = await call([
    ...['buf', 'curl', '--protocol', 'grpc', ...version, '--header', field, '--reflect-header', field, '--data', '{}'],
    `${url}/${callerMethod}`,
  ]);
  assert.ok(Object.keys(JSON.parse(output)).length > 0);
  console.log('buf curl with reflection: passed');
}
