/** The options of a client, and the limits of a single call. */
import type { CallOptions as NiceCallOptions } from 'nice-grpc';
import type { Token } from './call.js';
import type { Consistency } from './consistency.js';

export interface TlsOptions {
  /** PEM, not a path. The authorities that may sign the server's certificate. Default: the system's authorities. */
  ca?: string | Buffer;
  /** PEM, not a path. This client's certificate, if the server requires one. Set it together with `key`. */
  cert?: string | Buffer;
  /** PEM, not a path. */
  key?: string | Buffer;
  /** The name in the server's certificate, if it is not the address's host. */
  serverName?: string;
}

export interface ClientOptions {
  /**
   * `host:port` (the default port is 50051), or a gRPC target such as `dns:///host:port` or `unix:/path`.
   * Default: `localhost:50051`. Calls rotate over several addresses, and over the addresses of one name. Unreachable
   * addresses come last. Of several addresses, the client also avoids one that has just failed a call, until the health
   * service of its server says SERVING.
   */
  address?: string | readonly string[];

  /** True uses the system's authorities. Without TLS all traffic is unencrypted. */
  tls?: boolean | TlsOptions;

  /**
   * Sent with every call as `authorization: Bearer …`. A function is called for each attempt, so it should cache its token
   * until the token is about to expire. The server ends a stream when its token expires: `followUsers` and
   * `exportAllUsers` then go on with the next token, and an import fails. If it throws, the call fails with UNAUTHENTICATED.
   */
  token?: Token;

  /** Allows sending a token to another machine without TLS. Set it only if something else encrypts the connection. */
  insecureToken?: boolean;

  /**
   * The timeout of a unary call in milliseconds, including retries. Default: 10,000; 0 or Infinity disables it. The server
   * receives it as well, and stops working on the call when the deadline passes. Streams have no default.
   */
  deadlineMs?: number;

  /**
   * The maximum number of attempts of a unary call that fails with UNAVAILABLE or RATE_LIMITED, including the first.
   * Default: 3; 1 disables retries. Only calls that may run twice are retried: reads, deletes with `allowMissing`, and
   * creates, which are safe because of their request id. Other calls are retried if they certainly did not run, because
   * no server has accepted them. The client adds a request id if the caller sets none, unless this is 1.
   */
  attemptsMax?: number;

  /**
   * The reads of a client see all of its earlier writes, even if the server reads from replicas of the database. Pass one
   * object to several clients, and their reads see the writes of all of them: `const consistency = { token: '' }`. To see
   * them in another process, too, pass `{ token }` there. `false` turns this off: reads may then be slightly older.
   */
  consistency?: Consistency | false;
}

/** Limits of one call. They override the client's. */
export interface CallLimits {
  /** As in ClientOptions, but also for streams. */
  deadlineMs?: number;
  /** As in ClientOptions. Of the streams, only `exportAllUsers` and `followUsers` retry. */
  attemptsMax?: number;
}

/** `metadata` (made by `Metadata({ … })`), `signal`, `onHeader` and `onTrailer` are nice-grpc's. */
export type CallOptions = NiceCallOptions & CallLimits;
