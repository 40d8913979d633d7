/**
 * Manages the connections to the gRPC server behind the gateway. It opens as many as the calls in flight need, because
 * a server limits the calls on one connection, and each browser may hold a watch.
 */
import type { ClientSessionOptions, SecureClientSessionOptions } from 'node:http2';
import type { Transport } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { sessionMegabytesMax } from '../net/connections.js';

export interface Upstream {
  /** Lends a connection for a call. The caller must call `release` at the end, with whether the answer was complete. */
  lend(): { readonly transport: Transport; release(isWhole: boolean): void };
  /** Whether the server answers. */
  isReachable(): Promise<boolean>;
  /** Ends the connections and the calls on them. */
  close(): void;
}

export interface UpstreamOptions {
  /** Such as `http://localhost:50051`, or with `https`. */
  readonly url: string;
  /** Certificates, or a way to connect other than the URL. */
  readonly session?: ClientSessionOptions | SecureClientSessionOptions;
}

// Fewer than the 100 calls that servers allow on a connection (RFC 9113, 6.5.2, recommends no less). Node from 24.21 on
// counts calls that are cancelled in the bytes that it is reading, and would refuse new calls in the same bytes.
const streamsMax = 80;
// The number of cancelled calls after which a connection is replaced. Node's servers, and so grpc-js's, break a
// connection with more than a thousand of them and 33 a second, which fails the other calls on it.
const cancelledMax = 500;
// If a firewall silently drops a connection, its calls fail after the sum of both times. Go and Java servers break
// connections with more than one ping in five minutes: with 30 s, a quiet stream of a Go server ended after 120 s.
const pingIntervalMs = 330_000;
const pingTimeoutMs = 10_000;

export function createUpstream({ url, session: sessionOptions }: UpstreamOptions): Upstream {
  const links = new Set<{
    readonly transport: Transport;
    readonly session: Http2SessionManager;
    inFlight: number;
    cancelled: number;
  }>();

  function open() {
    const session = new Http2SessionManager(
      url,
      { pingIntervalMs, pingTimeoutMs },
      { maxSessionMemory: sessionMegabytesMax, ...sessionOptions },
    );
    const transport = createGrpcTransport({ baseUrl: url, sessionManager: session, acceptCompression: [] });
    const link = { transport, session, inFlight: 0, cancelled: 0 };
    links.add(link);
    return link;
  }

  return {
    lend() {
      // Prefers the oldest, so that unneeded connections become idle and close themselves.
      const hasRoom = ({ inFlight, cancelled }: { inFlight: number; cancelled: number }) =>
        inFlight < streamsMax && cancelled < cancelledMax;
      const link = [...links].find(hasRoom) ?? open();
      link.inFlight++;
      let isReleased = false;
      return {
        transport: link.transport,
        release(isWhole) {
          if (isReleased) return;
          isReleased = true;
          link.inFlight--;
          if (!isWhole) link.cancelled++;
          if (link.cancelled < cancelledMax || link.inFlight > 0) return;
          links.delete(link);
          link.session.abort();
        },
      };
    },
    async isReachable() {
      const [{ session } = open()] = links;
      return (await session.connect()) !== 'error';
    },
    close() {
      for (const { session } of links) session.abort();
    },
  };
}
