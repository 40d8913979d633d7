/**
 * Where calls go: what an address may look like, the channel to it, and whose turn it is where there are several.
 *
 * Knows nothing of methods or messages.
 */
import { Channel, type ChannelCredentials, type ChannelOptions, connectivityState } from '@grpc/grpc-js';

const portDefault = 50051;

/** Reads an address; `local` where nothing that is sent to it leaves this machine. Throws a TypeError for what is none. */
export function parseAddress(address: string): { target: string; local: boolean } {
  if (address === '' || /\s/.test(address)) throw new TypeError('An address must be host:port and hold no blanks.');
  if (/^https?:/i.test(address))
    throw new TypeError('An address is host:port, without http:// or https://; set tls for TLS.');
  const plain = /^(?<host>\[[0-9a-f:.]+(?:%\w+)?\]|[^:/[\]]+)(?::(?<port>\d{1,5}))?$/i.exec(address)?.groups;
  if (plain?.host !== undefined) {
    return { target: `${plain.host}:${plain.port ?? portDefault}`, local: isLoopback(plain.host) };
  }
  const [, scheme, rest = ''] = /^(dns|ipv4|ipv6|unix|unix-abstract):(.+)$/.exec(address) ?? [];
  if (scheme === undefined)
    throw new TypeError('An address must be host:port, or a target of gRPC such as dns:///host:port.');
  const hosts = rest.replace(/^\/\/[^/]*\//, '').split(',');
  const local = scheme.startsWith('unix') || hosts.every((host) => isLoopback(host.replace(/:\d+$/, '')));
  return { target: address, local };
}

function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/i.test(host);
}

/** A channel that does not connect before it is used; `serverName` replaces the host in the server's certificate. */
export function openChannel(
  { target, local }: { target: string; local: boolean },
  credentials: ChannelCredentials,
  serverName?: string,
): Channel {
  const options: ChannelOptions = {
    // One name may stand for several servers; gRPC's own default is to stay with the first that answers.
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    // Else a TXT record could put another one in its place, at the price of a look-up for each connection.
    'grpc.service_config_disable_resolution': 1,
    // Clients of one process do not share connections, nor do addresses that are given twice: behind one port may stand
    // several processes, and each connection is one's.
    'grpc.use_local_subchannel_pool': 1,
    // A connection that died without a word is found out in 40 s, not in the quarter of an hour that TCP takes. Pings only
    // while a call is open: servers are free to hang up on a client that pings more often than it calls.
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    // gRPC's defaults, 1 s and 2 min, leave a client without its server long after that is back.
    'grpc.initial_reconnect_backoff_ms': 200,
    'grpc.max_reconnect_backoff_ms': 5_000,
    // Costs CPU in every call, and nobody asks this process about its channels.
    'grpc.enable_channelz': 0,
    // gRPC honours http_proxy, but a proxy has its own idea of localhost.
    ...(local && { 'grpc.enable_http_proxy': 0 }),
    ...(serverName !== undefined && {
      'grpc.ssl_target_name_override': serverName,
      'grpc.default_authority': serverName,
    }),
  };
  return new Channel(target, credentials, options);
}

/**
 * Takes the channels in turn and says which one is next; `avoid` is the one that just failed the same call.
 *
 * A channel that is connected goes before one that is not yet, and one that could not connect comes last. All are told
 * to connect while calls are made, so that one which comes back is used again.
 */
export function createRotation(channels: readonly Channel[]): (avoid?: number) => number {
  let turn = 0;
  return (avoid) => {
    if (channels.length === 1) return 0;
    const start = turn++;
    let best = 0;
    let bestRank = Number.POSITIVE_INFINITY;
    for (let step = 0; step < channels.length; step++) {
      const index = (start + step) % channels.length;
      const rank = rankOf(channels[index]?.getConnectivityState(true), index === avoid);
      if (rank < bestRank) {
        best = index;
        bestRank = rank;
      }
    }
    return best;
  };
}

function rankOf(state: connectivityState | undefined, avoided: boolean): number {
  if (state === connectivityState.TRANSIENT_FAILURE) return 3;
  if (avoided) return 2;
  return state === connectivityState.READY ? 0 : 1;
}
