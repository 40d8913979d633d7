/**
 * Parses addresses, opens channels, and picks the channel of each call if there are several.
 *
 * It does not know methods or messages.
 */
import { Channel, type ChannelCredentials, type ChannelOptions, connectivityState } from '@grpc/grpc-js';

const portDefault = 50051;

/** Parses an address. `local` means that its traffic stays on this machine. Throws a TypeError for an invalid address. */
export function parseAddress(address: string): { target: string; local: boolean } {
  if (address === '' || /\s/.test(address)) throw new TypeError('An address must be host:port, without spaces.');
  if (/^https?:/i.test(address))
    throw new TypeError('An address must be host:port, without http:// or https://. Set tls to use TLS.');
  const plain = /^(?<host>\[[0-9a-f:.]+(?:%\w+)?\]|[^:/[\]]+)(?::(?<port>\d{1,5}))?$/i.exec(address)?.groups;
  if (Number(plain?.port) > 65_535) throw new TypeError('The port of an address must be at most 65535.');
  if (plain?.host !== undefined) {
    return { target: `${plain.host}:${plain.port ?? portDefault}`, local: isLoopback(plain.host) };
  }
  const [, scheme, rest = ''] = /^(dns|ipv4|ipv6|unix|unix-abstract):(.+)$/.exec(address) ?? [];
  if (scheme === undefined)
    throw new TypeError('An address must be host:port, or a gRPC target such as dns:///host:port.');
  const hosts = rest.replace(/^\/\/[^/]*\//, '').split(',');
  const local = scheme.startsWith('unix') || hosts.every((host) => isLoopback(host.replace(/:\d+$/, '')));
  return { target: address, local };
}

function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/i.test(host);
}

/** Opens a channel that connects on first use. `serverName` is the expected name in the server's certificate. */
export function openChannel(
  { target, local }: { target: string; local: boolean },
  credentials: ChannelCredentials,
  serverName?: string,
): Channel {
  const options: ChannelOptions = {
    // A name may resolve to several servers. gRPC's default stays with the first that answers.
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
    // Otherwise a TXT record could replace this config, and each connection would cost another lookup.
    'grpc.service_config_disable_resolution': 1,
    // Clients of one process, and repeated addresses, do not share connections: several processes may share a port, and each
    // connection belongs to one of them.
    'grpc.use_local_subchannel_pool': 1,
    // Detects a dead connection within 40 s; TCP takes a quarter of an hour. Pings are sent only during calls, because servers
    // may disconnect a client that pings without calls.
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
    // With gRPC's defaults, 1 s and 2 min, a client reconnects long after its server is back.
    'grpc.initial_reconnect_backoff_ms': 200,
    'grpc.max_reconnect_backoff_ms': 5_000,
    // With gRPC's default, 30 s, a client may find none of its servers if all have got new addresses, as in a rolling update.
    'grpc.dns_min_time_between_resolutions_ms': 5_000,
    // channelz costs CPU in every call and is not used.
    'grpc.enable_channelz': 0,
    // gRPC uses http_proxy, but localhost means another machine to a proxy.
    ...(local && { 'grpc.enable_http_proxy': 0 }),
    ...(serverName !== undefined && {
      'grpc.ssl_target_name_override': serverName,
      'grpc.default_authority': serverName,
    }),
  };
  return new Channel(target, credentials, options);
}

/**
 * Returns the next channel in rotation. `avoid` is the channel on which the same call just failed.
 *
 * Connected channels come first, then those whose server is doubtful, and channels that could not connect come last. Each
 * call also makes idle channels connect, so a recovered address is used again.
 */
export function createRotation(
  channels: readonly Channel[],
  isDoubtful: (channel: number) => boolean,
): (avoid?: number) => number {
  let calls = 0;
  return (avoid) => {
    if (channels.length === 1) return 0;
    const start = calls++;
    let best = 0;
    let bestRank = Number.POSITIVE_INFINITY;
    for (let step = 0; step < channels.length; step++) {
      const index = (start + step) % channels.length;
      const isAvoided = index === avoid;
      const rank = rankOf(channels[index]?.getConnectivityState(true), { isAvoided, isDoubtful: isDoubtful(index) });
      if (rank < bestRank) {
        best = index;
        bestRank = rank;
      }
    }
    return best;
  };
}

function rankOf(
  state: connectivityState | undefined,
  { isAvoided, isDoubtful }: { isAvoided: boolean; isDoubtful: boolean },
): number {
  if (state === connectivityState.TRANSIENT_FAILURE) return 4;
  if (isAvoided) return 3;
  if (isDoubtful) return 2;
  return state === connectivityState.READY ? 0 : 1;
}
