/**
 * Reaches the gRPC server behind the gateway: the one of this process, or another one over the network. For that it opens
 * as many connections as the calls in flight need, because a server limits the calls on one connection, and each browser
 * may hold a watch.
 */
import type { ClientSessionOptions, SecureClientSessionOptions } from 'node:http2';
import { ConnectError, type Transport } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import type { ClientStream } from '../grpc-server/memory-stream.js';
import type { Connection, HeaderFields } from '../grpc-server/stream.js';
import { sessionMegabytesMax } from '../net/connections.js';
import { createMemoryTransport, type OwnServer } from './memory-transport.js';
import {
  exchangeOver,
  exchangeOwn,
  ownRequestFields,
  type UnaryExchange,
  type UnaryRequest,
} from './unary-exchange.js';

export interface Upstream {
  /**
   * Whether calls carry the client's address and certificate. Otherwise the gateway must send the address as metadata,
   * and the server cannot know the certificate.
   */
  readonly carriesConnection: boolean;
  /**
   * Whether the server may accept the credentials. If not, it refuses the call at its header, so the gateway need not read
   * the request.
   */
  knowsCaller(fields: HeaderFields, connection: Connection): boolean | Promise<boolean>;
  /**
   * Lends a transport for a call of the client with this connection. The caller must call `release` at the end, with
   * whether the answer was complete.
   */
  lend(connection: Connection): { readonly transport: Transport; release(isWhole: boolean): void };
  /** Starts a unary call. */
  unary(request: UnaryRequest): UnaryExchange;
  /** Whether the server answers. */
  isReachable(): Promise<boolean>;
  /** Ends the connections and the calls on them. */
  close(): void;
}

/** Another server. */
export interface NetworkTarget {
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

export type UpstreamOptions = OwnServer | NetworkTarget;

export function createUpstream(options: UpstreamOptions): Upstream {
  return 'call' in options ? createOwnUpstream(options) : createNetworkUpstream(options);
}

function createOwnUpstream({ call: callServer, knowsCaller = () => true }: OwnServer): Upstream {
  const open = new Set<ClientStream>();
  // Each call counts its own bytes, because the clients of a proxy may share one connection over HTTP/2.
  const call: OwnServer['call'] = (fields, connection) => callServer(fields, { ...connection, heldBytes: 0 });
  return {
    carriesConnection: true,
    knowsCaller,
    lend(connection) {
      const streams: ClientStream[] = [];
      const tracked: OwnServer['call'] = (...header) => {
        const stream = call(...header);
        streams.push(stream);
        open.add(stream);
        return stream;
      };
      return {
        transport: createMemoryTransport(tracked, connection),
        release() {
          for (const stream of streams) open.delete(stream);
        },
      };
    },
    unary(request) {
      const stream = call(ownRequestFields(request), request.connection);
      open.add(stream);
      const answer = exchangeOwn(stream, request.message).finally(() => open.delete(stream));
      return { answer, cancel: () => stream.cancel() };
    },
    isReachable: async () => true,
    close() {
      for (const stream of open) stream.cancel();
    },
  };
}

function createNetworkUpstream({ url, session: sessionOptions }: NetworkTarget): Upstream {
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

  function lend() {
    // Prefers the oldest, so that unneeded connections become idle and close themselves.
    const hasRoom = ({ inFlight, cancelled }: { inFlight: number; cancelled: number }) =>
      inFlight < streamsMax && cancelled < cancelledMax;
    const link = [...links].find(hasRoom) ?? open();
    link.inFlight++;
    let isReleased = false;
    return {
      transport: link.transport,
      release(isWhole: boolean) {
        if (isReleased) return;
        isReleased = true;
        link.inFlight--;
        if (!isWhole) link.cancelled++;
        if (link.cancelled < cancelledMax || link.inFlight > 0) return;
        links.delete(link);
        link.session.abort();
      },
    };
  }

  return {
    carriesConnection: false,
    knowsCaller: () => true,
    lend,
    unary(request) {
      const { transport, release } = lend();
      const abort = new AbortController();
      const answer = exchangeOver(transport, request, abort.signal).then((whole) => {
        release(!(whole.result instanceof ConnectError));
        return whole;
      });
      return { answer, cancel: () => abort.abort() };
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
