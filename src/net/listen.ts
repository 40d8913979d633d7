/** Listens on every address of a host, with any kind of server. If one address fails, it listens on none. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { type Address, formatAddress } from './address.js';

export type ListenSetting = 'GRPC_ADDRESS' | 'HTTP_ADDRESS';

/** Its text says what to do. `code` is the system's code, such as EADDRINUSE. */
export class ListenError extends Error {
  override readonly name = 'ListenError';

  constructor(
    message: string,
    readonly code: string | undefined,
  ) {
    super(message);
  }
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
      const isPortTaken = isLocalhost && port === 0 && error instanceof ListenError && error.code === 'EADDRINUSE';
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
 * Returns the port that a gRPC server would use, or throws its ListenError, for a process whose workers listen later. Nothing
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
        throw listenError('GRPC_ADDRESS', one, error);
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

/** `setting` is the setting of the address, which the text names. */
export function listenError(setting: ListenSetting, address: Address, cause: unknown): ListenError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : undefined;
  const name = `${setting} (--${setting.toLowerCase().replace('_', '-')})`;
  const text = cause instanceof Error ? cause.message : String(cause);
  const why = describeCode(code, name) ?? `${text}. Check ${name}.`;
  return new ListenError(`Cannot listen on ${formatAddress(address)}: ${why}`, code);
}

function isMissingAddress(error: unknown): boolean {
  return error instanceof ListenError && ['EADDRNOTAVAIL', 'EAFNOSUPPORT', 'EINVAL'].includes(error.code ?? '');
}

function describeCode(code: string | undefined, name: string): string | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return `another process, perhaps another Roster, uses the port. Stop it, or choose another port with ${name}.`;
    case 'EACCES':
      return `this user may not listen on ports below 1024. Choose a higher port with ${name}.`;
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
      return `this machine has no such address. Set ${name} to one of its addresses, or to 0.0.0.0 or [::] for all of them.`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the host name cannot be resolved. Set ${name} to an address of this machine.`;
    default:
      return /^ERR_(?:OSSL|SSL|TLS)_/.test(code ?? '')
        ? 'the certificate and the key do not match, or are not PEM. Check TLS_CERT and TLS_KEY.'
        : undefined;
  }
}
