/** Stops reading from the socket of an HTTP/2 session, so that TCP stops the client. */
import type { Socket } from 'node:net';

/**
 * Node has no public way to do this, because the session reads from the socket's handle. The handle's methods exist since
 * Node 0.x, and the session uses them too. If they are missing, the socket is read as before.
 */
export function setReading(socket: Socket, reads: boolean): void {
  const handle: unknown = Reflect.get(socket, '_handle');
  const method: unknown =
    typeof handle === 'object' && handle !== null ? Reflect.get(handle, reads ? 'readStart' : 'readStop') : undefined;
  if (typeof method === 'function') method.call(handle);
}
