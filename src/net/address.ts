/** The address of a server: parsing `host:port`, formatting it, and whether other machines can reach it. */
import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net';

/** An IPv6 host has no brackets. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

export function parseAddress(text: string): Address | undefined {
  // Not `:50051` or `50051`: programs disagree on whether these mean this machine or every interface.
  const match = /^(?:\[([^\]]+)\]|([a-z0-9._-]{1,253})):(\d{1,5})$/i.exec(text);
  const [, ipv6, name, digits] = match ?? [];
  const port = Number(digits);
  const host = ipv6 ?? name;
  if (host === undefined || !(port <= 65_535)) return undefined;
  if (ipv6 !== undefined && !isIPv6(ipv6)) return undefined;
  // A host that ends in a number must be an IPv4 address (as in the URL standard).
  if (name !== undefined && !isIPv4(name) && /(?:^|\.)\d+$/.test(name)) return undefined;
  return { host, port };
}

/** The form of gRPC and URLs, with an IPv6 host in brackets. */
export function formatAddress({ host, port }: Address): string {
  return `${isIPv6(host) ? `[${host}]` : host}:${port}`;
}

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Whether only this machine can reach the host. The only such name is localhost (RFC 6761). */
export function isLoopback(host: string): boolean {
  if (isIP(host) === 0) return host.toLowerCase() === 'localhost';
  return loopback.check(host, isIPv6(host) ? 'ipv6' : 'ipv4');
}

/**
 * Returns what one client can be expected to have: an IPv4 address, or the /64 network of an IPv6 address, whose 2^64
 * addresses any of its machines may use.
 */
export function clientNetwork(host: string): string {
  if (!host.includes(':')) return host;
  const [, ipv4] = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host) ?? [];
  if (ipv4 !== undefined) return ipv4;
  const groupsOf = (text: string) => (text === '' ? [] : text.split(':'));
  const [before = '', after] = host.split('::');
  const first = groupsOf(before);
  const last = groupsOf(after ?? '');
  const zeros = Array<string>(Math.max(0, 8 - first.length - last.length)).fill('0');
  return `${[...first, ...zeros, ...last].slice(0, 4).join(':')}::/64`;
}
