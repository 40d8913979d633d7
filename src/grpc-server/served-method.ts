/** The parts of a method and of the server that a call uses. */
import type { PeerCertificate } from 'node:tls';
import type { CallContext } from 'nice-grpc-common';
import type { Admission } from './admission.js';
import type { HeldBytesLimits } from './held-bytes.js';
import type { CallObserver } from './observer.js';

/** Handlers get this in addition to nice-grpc's context. */
export interface PeerContext {
  /** The client's certificate, with mutual TLS. */
  peerCertificate(): PeerCertificate | undefined;
  /** How long the client waits from the start of the call. Undefined if it waits without a limit. */
  readonly timeoutMs: number | undefined;
  /** What `ServerOptions.admit` has stored in the call. */
  readonly caller: unknown;
  /** What `ServerOptions.observe` has returned for the call. */
  readonly observer: CallObserver | undefined;
}

export type ServerCallContext = CallContext & PeerContext;

/** A method with the middleware of its service. */
export interface ServedMethod {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  /** The maximum size of each request message. */
  readonly requestBytesMax: number;
  decode(bytes: Uint8Array): unknown;
  encode(response: unknown): Uint8Array;
  /** Returns a promise of the response, or an AsyncIterable of responses. */
  handle(request: unknown, context: ServerCallContext): unknown;
}

export interface CallLimits extends HeldBytesLimits {
  readonly responseBytesMax: number;
  readonly compressResponses: boolean;
  readonly stallTimeoutMs: number;
  readonly admission: Admission;
}
