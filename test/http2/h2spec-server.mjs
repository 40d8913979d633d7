/**
 * The server under test of h2spec, which reads each request and answers it with data and trailers. The arguments are `own`
 * or `node`, and the number of workers. The parent sends the options of TLS, or nothing in them, and gets the port.
 */
import { once } from 'node:events';
import http2 from 'node:http2';
import { Http2Server } from '../../dist/src/http2/server.js';
import { runServer } from '../conformance/workers.mjs';

const header = [':status', '200', 'content-type', 'text/plain'];
const body = Buffer.from('The response of a test.');
const trailers = ['x-end', 'yes'];

const application = {
  onConnection: () => undefined,
  onStream: (stream) => ({
    onData() {},
    onEnd: () => stream.sendResponse(header, body, trailers),
    onSent() {},
    onDrain() {},
    onClose() {},
  }),
};
const minuteMs = 60_000;
const options = {
  streamsMax: 100,
  ageMsMax: 0,
  ageGraceMs: minuteMs,
  keepaliveMs: minuteMs,
  keepaliveTimeoutMs: minuteMs,
  idleMsMax: minuteMs,
  handshakeMs: minuteMs,
};

const [implementation, workers] = process.argv.slice(2);
process.once('disconnect', () => process.exit());
await runServer({
  workers: Number(workers),
  readConfig: async () => (await once(process, 'message'))[0],
  serve: ({ tls }) => (implementation === 'node' ? serveNode(tls) : serveOwn(tls)),
  report: (port) => process.send(port),
});

function serveOwn(tls) {
  return new Http2Server(application, options, tls).listen('127.0.0.1', 0);
}

async function serveNode(tls) {
  const server = tls === undefined ? http2.createServer() : http2.createSecureServer(tls);
  server.on('session', (session) => session.on('error', () => {}));
  server.on('stream', (stream) => {
    stream.on('error', () => {});
    stream.on('end', () => {
      if (stream.destroyed) return;
      stream.respond({ ':status': 200, 'content-type': 'text/plain' });
      stream.end(body);
    });
    stream.resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}
