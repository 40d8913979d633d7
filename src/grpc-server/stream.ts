/**
 * The interface between gRPC and the transport that carries it: bidirectional streams with header fields, data with
 * backpressure, and trailers, as HTTP/2 has them.
 */
import type { PeerCertificate } from 'node:tls';
import type { StreamReceiver } from '../http2/application.js';
import type { UnaryCalls } from './caller-share.js';

/** Names in lower case, each followed by its value, as in `['te', 'trailers', 'grpc-timeout', '1S']`. */
export type HeaderFields = readonly string[];

/** Error codes of RFC 9113, section 7. */
export const noError = 0x0;
export const cancelled = 0x8;

export interface Connection {
  /** The client's address, as in `127.0.0.1:40312`. */
  readonly peer: string;
  /** The IP address in it. */
  readonly host: string;
  /** The certificate that the client has presented and that its CA has signed. */
  certificate(): PeerCertificate | undefined;
  /** The bytes that the process holds for the calls of this connection. */
  heldBytes: number;
  /** How long the last bytes of the client may have waited to be read. */
  readonly behindMs?: number;
  /** Undefined if the connection is not one over gRPC. */
  readonly use?: ConnectionUse;
}

export interface ConnectionUse {
  /** The caller of its unary calls. Undefined before the first one of a caller that is counted. */
  caller: UnaryCalls | 'several' | undefined;
}

/** The server's side of one stream. Calls after the stream has closed have no effect. */
export interface TransportStream {
  readonly connection: Connection;
  /** Bytes that were written but that the transport could not send yet. */
  readonly unsentBytes: number;
  sendHeaders(fields: HeaderFields): void;
  /** Returns false if the client reads too slowly. The receiver's `onDrain` follows when it has caught up. */
  sendData(bytes: Uint8Array): boolean;
  /** Ends the response after all data. The header must have been sent. */
  sendTrailers(fields: HeaderFields): void;
  /** Sends a whole response, in fewer steps. */
  sendResponse(header: HeaderFields, data: Uint8Array, trailers: HeaderFields): void;
  /** Sends a response that is only this header. */
  sendOnly(fields: HeaderFields): void;
  /** Ends the stream in both directions with an error code of RFC 9113. Drops unsent data. */
  reset(code: number): void;
  /** Stops delivering data, so that the client soon stops sending. */
  pause(): void;
  resume(): void;
}

/** Takes the calls of clients. */
export interface StreamAcceptor {
  /** Returns the whole response of a call that is refused before anything is created for it. */
  refusal(connection: Connection, fields: HeaderFields): HeaderFields | undefined;
  /** Called at the header of each other call. Returns undefined if it has already answered. */
  accept(stream: TransportStream, fields: HeaderFields): StreamReceiver | undefined;
}

/** Returns the first value of a header field. */
export function fieldOf(fields: HeaderFields, name: string): string | undefined {
  for (let index = 0; index < fields.length; index += 2) if (fields[index] === name) return fields[index + 1];
  return undefined;
}
