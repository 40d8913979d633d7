/** Listens on every address of a host, with any kind of server. If one address fails, it listens on none. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { type Address, formatAddress } from './address.js';

export class ListenError extends Error {
  override readonly name = 'ListenError';
}

// localhost means both, because clients may use either. /etc/hosts in containers often has only one of them.
const localHosts = ['127.0.0.1', '::1'];
// The number of attempts to find a port that is free for both IPv4 and IPv6.
const freePortAttemptsMax = 10;

/**
 * With port 0, all addresses get the same free port. `listenOn` must throw a listenError(), which this function throws too.
 * `stop` stops a server that already listens, if another address fails.
 */
export async function listenOnHost<T extends { readonly port: number }>(
  { host, port }: Address,
  listenOn: (address: Address) => Promise<T>,
  stop: (listener: T) => void,
): Promise<T[]> {
  const isLocalhost = host.toLowerCase() === 'localhost';
  for (let attempts = 1; ; attempts++) {
    try {
      if (isLocalhost) return await listenOnAll(localHosts, port, listenOn, stop);
      return [await listenOn({ host, port })];
    } catch (error) {
      const isPortTaken = isLocalhost && port === 0 && codeOf(error) === 'EADDRINUSE';
      if (!isPortTaken || attempts === freePortAttemptsMax) throw error;
    }
  }
}

/** Listens on each host that the machine has, which must be at least one. If one of them fails, listens on none. */
async function listenOnAll<T extends { readonly port: number }>(
  hosts: readonly string[],
  port: number,
  listenOn: (address: Address) => Promise<T>,
  stop: (listener: T) => void,
): Promise<T[]> {
  const listeners: T[] = [];
  let missing: unknown;
  try {
    for (const host of hosts) {
      try {
        listeners.push(await listenOn({ host, port: listeners[0]?.port ?? port }));
      } catch (error) {
        if (!isMissingAddress(error)) throw error;
        missing = error;
      }
    }
  } catch (error) {
    for (const listener of listeners) stop(listener);
    throw error;
  }
  if (listeners.length === 0) throw missing;
  return listeners;
}

/**
 * Returns the port that a server would use, or throws its ListenError, for a process whose workers listen later. Nothing
 * reserves the port until then.
 */
export async function findPort(address: Address): Promise<number> {
  const servers: Server[] = [];
  const stop = () => {
    for (const server of servers.splice(0)) server.close();
  };
  const listeners = await listenOnHost(
    address,
    async (one) => {
      const server = createServer();
      try {
        server.listen(one);
        await once(server, 'listening');
      } catch (error) {
        throw listenError(one, error);
      }
      const bound = server.address();
      servers.push(server);
      return { port: typeof bound === 'object' ? (bound?.port ?? 0) : 0 };
    },
    stop,
  );
  stop();
  return listeners[0]?.port ?? 0;
}

export function listenError(address: Address, cause: unknown): ListenError {
  const message = `Cannot listen on ${formatAddress(address)}: ${describeErrorCode(codeOf(cause))}.`;
  return new ListenError(message, { cause });
}

/** Finds the system's error code in the text of an error or of its cause. */
function codeOf(error: unknown): string | undefined {
  const texts = error instanceof Error ? [error.message, String(error.cause)] : [];
  return /\bE[A-Z]{4,}\b/.exec(texts.join(' '))?.[0];
}

function isMissingAddress(error: unknown): boolean {
  return ['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL'].includes(codeOf(error) ?? '');
}

function describeErrorCode(code: string | undefined): string {
  switch (code) {
    case 'EADDRINUSE':
      return 'the address is already in use';
    case 'EACCES':
      return 'this user is not allowed to listen there';
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
      return 'this machine has no such address';
    case undefined:
      return 'the host cannot be resolved, or the certificate and the key do not match';
    default:
      return code;
  }
}
