/**
 * Connections to the gRPC server behind the gateway: as many as the calls in flight need, because a server lets only so
 * many of them share one, and a watch of each browser would leave none for anybody else.
 */
import type { ClientSessionOptions, SecureClientSessionOptions } from 'node:http2';
import type { Transport } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { sessionMegabytesMax } from '../rpc/connections.js';

export interface Upstream {
  /** Lends a connection for a call; `release` must be called when that has ended, and says whether with all its answer. */
  lend(): { readonly transport: Transport; release(isWhole: boolean): void };
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

// Fewer than the 100 calls that any server lets share a connection (RFC 9113, 6.5.2, recommends no less): Node from 24.21 on
// still counts those that were cancelled in the bytes it is reading, and would refuse others in the same bytes for them.
const streamsMax = 80;
// Calls that are cut off, of which a connection may have so many before another one takes its place. Node's servers, and so
// grpc-js's, break a connection with more than a thousand of them and 33 a second, and with it the calls of everybody else.
const cutsMax = 500;
// A connection that has died in silence, as behind a firewall, fails its calls after so long and so long again. Servers on
// Go and Java break connections that are asked more often than every five minutes: with 30 s, a quiet stream of one on Go
// ended after 120 s.
const pingIntervalMs = 330_000;
const pingTimeoutMs = 10_000;

export function createUpstream({ url, session: sessionOptions }: UpstreamOptions): Upstream {
  const links = new Set<{
    readonly transport: Transport;
    readonly session: Http2SessionManager;
    inFlight: number;
    cuts: number;
  }>();

  function open() {
    const session = new Http2SessionManager(
      url,
      { pingIntervalMs, pingTimeoutMs },
      { maxSessionMemory: sessionMegabytesMax, ...sessionOptions },
    );
    const transport = createGrpcTransport({ baseUrl: url, sessionManager: session, acceptCompression: [] });
    const link = { transport, session, inFlight: 0, cuts: 0 };
    links.add(link);
    return link;
  }

  return {
    lend() {
      // The first that has room: what is no longer needed gets idle, and closes itself.
      const hasRoom = ({ inFlight, cuts }: { inFlight: number; cuts: number }) =>
        inFlight < streamsMax && cuts < cutsMax;
      const link = [...links].find(hasRoom) ?? open();
      link.inFlight++;
      let isReleased = false;
      return {
        transport: link.transport,
        release(isWhole) {
          if (isReleased) return;
          isReleased = true;
          link.inFlight--;
          if (!isWhole) link.cuts++;
          if (link.cuts < cutsMax || link.inFlight > 0) return;
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
