/** The interface of an application that handles the streams of a server. */
import type { Http2Connection } from './connection.js';
import type { HeaderFields } from './header-decoder.js';
import type { Http2Stream } from './stream.js';

/** `Connection` is what the application keeps for a connection. */
export interface Application<Connection> {
  onConnection(connection: Http2Connection<Connection>): Connection;
  /** Called at the header of each request. Returns a whole response to refuse it before there is a stream. */
  refusal?(connection: Connection, fields: HeaderFields): HeaderFields | undefined;
  /** Called at the header of each other request. Returns undefined if the application has already answered or reset the stream. */
  onStream(stream: Http2Stream<Connection>, fields: HeaderFields): StreamReceiver | undefined;
}

/** Receives the events of one stream. */
export interface StreamReceiver {
  onData(bytes: Buffer): void;
  /** The client sends no more. */
  onEnd(): void;
  /** The stream's `unsentBytes` has become smaller after `sendData`. */
  onSent(): void;
  onDrain(): void;
  /** The stream has ended. `isComplete` tells whether everything was sent. Nothing follows. */
  onClose(isComplete: boolean): void;
}

/** Counts the bytes that the process holds for one connection. */
export interface BufferedBytes {
  set(bytes: number): void;
  release(): void;
}
