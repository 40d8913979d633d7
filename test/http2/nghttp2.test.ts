/** HPACK round trips with nghttp2, which node:http2 uses: its encoder has a dynamic table and Huffman, ours has not. */
import { once } from 'node:events';
import { connect, type IncomingHttpHeaders, type OutgoingHttpHeaders, sensitiveHeaders } from 'node:http2';
import fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { Http2Server } from '../../src/http2/server.js';
import { connectionOptions } from './peer.js';

// Few names and values, so that some are in nghttp2's table, and others that evict them.
const name = fc.oneof(
  fc.constantFrom('x-a', 'x-b', 'via', 'vary', 'server', 'accept', 'www-authenticate'),
  fc.stringMatching(/^[a-z]{1,30}$/).map((text) => `x-${text}`),
);
const value = fc.oneof(
  fc.constantFrom('', 'a', 'b'.repeat(200)),
  fc.stringMatching(/^[!-~\x80-\xff]([ -~\x80-\xff]{0,200}[!-~\x80-\xff])?$/),
  fc.integer({ min: 1, max: 5000 }).map((length) => 'long'.repeat(length / 4)),
);
const request = fc.tuple(fc.dictionary(name, value, { maxKeys: 20 }), fc.array(name));

it('receives and sends the same fields', { timeout: 120_000 }, async () => {
  const server = new Http2Server<undefined>(
    {
      onConnection: () => undefined,
      onStream(stream, fields) {
        const first = fields.findIndex((text, index) => index % 2 === 0 && !text.startsWith(':'));
        stream.sendOnly([':status', '200', ...(first === -1 ? [] : fields.slice(first))]);
        return undefined;
      },
    },
    connectionOptions,
    undefined,
  );
  const client = connect(`http://127.0.0.1:${await server.listen('127.0.0.1', 0)}`, { maxSendHeaderBlockLength: 1e6 });
  onTestFinished(() => {
    client.destroy();
    server.destroy();
  });
  await fc.assert(
    fc.asyncProperty(request, async ([fields, sensitive]) => {
      const headers: OutgoingHttpHeaders = { ':method': 'POST', ':path': '/', ...fields };
      const stream = client.request({ ...headers, [sensitiveHeaders]: sensitive }, { endStream: true });
      const [{ ':status': status, ...received }] = (await once(stream, 'response')) as [IncomingHttpHeaders];
      stream.close();
      // Without the symbol that Node adds.
      expect([status, Object.fromEntries(Object.entries(received))]).toEqual([200, { ...fields }]);
    }),
    { numRuns: 1000 },
  );
});
