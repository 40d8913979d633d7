/**
 * The consistency tokens of a client: it remembers the newest token of its writes, and sends it with its other calls, so
 * that they see those writes even if a replica of the database serves them.
 */
import type { Metadata } from 'nice-grpc';

export const consistencyKey = 'x-roster-consistency';

/**
 * Represents the writes of a client, or of several clients that share this object. To continue in another process, pass
 * `{ token }` with a token that was saved.
 */
export interface Consistency {
  /** The newest token; empty before the first write. Its content is opaque. */
  token: string;
}

// The part of a token that names the server. Only tokens of one server can be compared.
const originOf = (token: string) => token.slice(0, token.lastIndexOf('.'));

/** Adds the token to the metadata of a call, unless the caller has set one. */
export function sendToken({ token }: Consistency, metadata: Metadata): void {
  if (token !== '' && !metadata.has(consistencyKey)) metadata.set(consistencyKey, token);
}

/** Remembers the token in the trailer of a call, if it is newer. The trailers of concurrent writes arrive in any order. */
export function rememberToken(consistency: Consistency, trailer: Metadata): void {
  const token = trailer.get(consistencyKey);
  if (token === undefined) return;
  const isOlder = originOf(token) === originOf(consistency.token) && token < consistency.token;
  if (!isOlder) consistency.token = token;
}
