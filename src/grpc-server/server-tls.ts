/** The options of TLS for servers, over gRPC and over HTTP. */
import { constants } from 'node:crypto';

/** PEM. With clientCa, clients are asked for a certificate that this CA has signed. */
export interface ServerTls {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly clientCa?: Buffer;
  /** Whether clients without such a certificate are refused. The default is true. */
  readonly requiresClientCert?: boolean;
}

/** Returns the options for Node's secure servers and for setSecureContext(). */
export function secureContext({ cert, key, clientCa, requiresClientCert = true }: ServerTls) {
  const requestCert = clientCa !== undefined;
  const rejectUnauthorized = requestCert && requiresClientCert;
  // With TLS 1.2, a client could otherwise exchange its verified certificate for one that nobody has signed.
  const secureOptions = constants.SSL_OP_NO_RENEGOTIATION;
  return { cert, key, ca: clientCa, requestCert, rejectUnauthorized, secureOptions, minVersion: 'TLSv1.2' as const };
}
