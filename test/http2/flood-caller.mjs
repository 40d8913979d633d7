/**
 * A well-behaved client in a process of its own. It calls each of the servers in turn, and measures how long each answer
 * takes.
 */
import { connect } from 'node:http2';

const sessions = process.argv.slice(2).map((port) => connect(`http://127.0.0.1:${port}`));
const fields = {
  ':method': 'POST',
  ':path': '/test.Flood/Echo',
  'content-type': 'application/grpc',
  te: 'trailers',
};

/** Resolves with whether the answer was right. */
function echo(session, request) {
  return new Promise((resolve) => {
    const stream = session.request(fields, { endStream: false });
    const chunks = [];
    let status;
    stream.on('data', (chunk) => chunks.push(chunk));
    stream.on('trailers', (trailers) => {
      status = trailers['grpc-status'];
    });
    stream.on('error', () => {});
    stream.on('close', () => resolve(status === '0' && Buffer.concat(chunks).equals(request)));
    stream.end(request);
  });
}

let count = 0;
function nextRequest() {
  const text = Buffer.from(`request ${count++} ${'x'.repeat(count % 200)}`);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(text.length, 1);
  return Buffer.concat([prefix, text]);
}

let isRunning = false;
async function run() {
  const servers = sessions.map(() => ({ times: [], wrong: 0 }));
  while (isRunning) {
    for (const [index, session] of sessions.entries()) {
      const startedMs = performance.now();
      const isRight = await echo(session, nextRequest());
      servers[index].times.push(performance.now() - startedMs);
      if (!isRight) servers[index].wrong++;
    }
  }
  process.send(servers);
}

process.on('message', (message) => {
  isRunning = message === 'start';
  if (isRunning) void run();
});
process.on('disconnect', () => process.exit());
process.send('ready');
