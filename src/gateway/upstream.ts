/**
 * Connections to the gRPC server behind the gateway: as many as the calls in flight need, because a server lets only so
 * many of them share one, and a watch of each browser would leave none for anybody else.
 */
import type { ClientSessionOptions, SecureClientSessionOptions } from 'node:http2';
import type { Transport } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';

export interface Upstream {
  /** Lends a connection for a call; `release` must be called when that has ended. */
  lend(): { readonly transport: Transport; release(): void };
  /** Whether somebody answers there. */
  isReachable(): Promise<boolean>;
  /** Ends the connections, and calls that are left on them. */
  close(): void;
}

export interface UpstreamOptions {
  /** As in `http://localhost:50051`, or with `https`. */
  readonly url: string;
  /** Certificates, or another way to connect than by the URL. */
  readonly session?: ClientSessionOptions | SecureClientSessionOptions;
}

// As many calls as any server lets share a connection (RFC 9113, 6.5.2, recommends no less).
const streamsMax = 100;
// A connection that has died in silence, as behind a firewall, fails its calls after so long and so long again. Servers on
// Go and Java break connections that are asked more often than every five minutes: with 30 s, a quiet stream of one on Go
// ended after 120 s.
const pingIntervalMs = 330_000;
const pingTimeoutMs = 10_000;

// As on the other sides of the gateway (http.ts, rpc/server.ts): a hundred calls with large messages may share a connection.
const sessionMegabytesMax = 256;

export function createUpstream({ url, session: sessionOptions }: UpstreamOptions): Upstream {
  const links: { readonly transport: Transport; readonly session: Http2SessionManager; inFlight: number }[] = [];

  function open() {
    const session = new Http2SessionManager(
      url,
      { pingIntervalMs, pingTimeoutMs },
      { maxSessionMemory: sessionMegabytesMax, ...sessionOptions },
    );
    const transport = createGrpcTransport({ baseUrl: url, sessionManager: session, acceptCompression: [] });
    const link = { transport, session, inFlight: 0 };
    links.push(link);
    return link;
  }

  return {
    lend() {
      // The first that has room: what is no longer needed gets idle, and closes itself.
      const link = links.find(({ inFlight }) => inFlight < streamsMax) ?? open();
      link.inFlight++;
      let isReleased = false;
      return {
        transport: link.transport,
        release() {
          if (isReleased) return;
          isReleased = true;
          link.inFlight--;
        },
      };
    },
    async isReachable() {
      const { session } = links[0] ?? open();
      return (await session.connect()) !== 'error';
    },
    close() {
      for (const { session } of links) session.abort();
    },
  };
}
