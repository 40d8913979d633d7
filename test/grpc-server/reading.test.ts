import { once } from 'node:events';
import { connect } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Http2Listener } from '../../src/grpc-server/http2-listener.js';
import { createAuthority } from '../certificates.js';

const options = {
  concurrentCallsMax: 100,
  ageMsMax: 0,
  ageGraceMs: 1000,
  keepaliveMs: 60_000,
  keepaliveTimeoutMs: 60_000,
  idleMsMax: 60_000,
  handshakeMs: 10_000,
};

describe.each(['plaintext', 'TLS'])('a connection over %s', (kind) => {
  it('is not read while its caller has no turn, and loses nothing', async () => {
    const authority = kind === 'TLS' ? createAuthority() : undefined;
    const issued = authority?.issue('localhost');
    const tls = issued && { cert: Buffer.from(issued.cert), key: Buffer.from(issued.key) };
    const paths: string[] = [];
    const listener = new Http2Listener(
      (stream, fields) => {
        paths.push(fields[fields.indexOf(':path') + 1] ?? '');
        stream.sendOnly([':status', '200']);
        return undefined;
      },
      options,
      tls,
    );
    onTestFinished(() => listener.destroy());
    const port = await listener.listen('127.0.0.1', 0);
    const session = connect(`${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`, { ca: authority?.cert });
    onTestFinished(() => session.destroy());
    const call = (path: string) => {
      const stream = session.request({ ':method': 'POST', ':path': path });
      stream.end();
      return once(stream, 'response');
    };
    await call('/first');
    const [connection] = [...listener.connections];
    connection?.setReading(false);
    const second = call('/second');
    await sleep(200);
    expect(paths).toEqual(['/first']);
    connection?.setReading(true);
    await second;
    expect(paths).toEqual(['/first', '/second']);
  });
});
