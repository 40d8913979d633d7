/**
 * Decides which pages may send calls. A browser sends requests for any page and identifies the page in headers: Origin,
 * Host and Sec-Fetch-Site, which it also sends with a GET without Origin.
 */
import { isLoopback } from '../net/address.js';
import type { HttpRequest } from './gateway.js';

/**
 * `own` is this server's page or a client that is not a page. `allowed` is another page that may send calls, and
 * `foreign` is one that may not.
 *
 * `foreign host` is a host name that is not loopback, if the server listens only on loopback. Without this check, a
 * page could let its own host name resolve to this server, and so have the same origin (DNS rebinding). `no host` is
 * an invalid Host header.
 */
export type Verdict = 'own' | 'allowed' | 'foreign' | 'foreign host' | 'no host';

// Sec-Fetch-Site for a page of another site, and for a page of another host of the same site.
const otherSites: ReadonlySet<string> = new Set(['cross-site', 'same-site']);

/**
 * Whether the user followed a link. The browser then shows the response, and no page can read it. A frame or an object
 * is not a navigation, because the page that contains it could observe it.
 */
export function isNavigation({ method, headers }: HttpRequest): boolean {
  return method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
}

/** The server listens on `host`. `corsOrigins` are origins such as `https://app.example.com`, or `*` for all. */
export function createOriginRule(host: string, corsOrigins: readonly string[]): (request: HttpRequest) => Verdict {
  const isAnyAllowed = corsOrigins.includes('*');
  const allowed = new Set(corsOrigins);
  // A proxy may send its own host name.
  const corsHostnames = new Set(
    corsOrigins.filter((origin) => origin !== '*').map((origin) => new URL(origin).hostname),
  );
  const isLocal = isLoopback(host);
  // Most requests have the same host.
  let last: { authority: string | undefined; hostname: string; isLoopback: boolean } | undefined;
  function read(authority: string | undefined) {
    if (last !== undefined && last.authority === authority) return last;
    const hostname = hostnameOf(authority);
    last = { authority, hostname, isLoopback: isLoopback(hostname) };
    return last;
  }

  return (request) => {
    const { origin, 'sec-fetch-site': site = '' } = request.headers;
    const authority = 'authority' in request ? request.authority : request.headers.host;
    const { hostname, isLoopback: isOwnHost } = read(authority);
    if (isLocal && !isAnyAllowed && !isOwnHost && !corsHostnames.has(hostname)) return 'foreign host';
    if (hostname === '') return 'no host';
    if (origin !== undefined && (isAnyAllowed || allowed.has(origin))) return 'allowed';
    if (!isAnyAllowed && otherSites.has(String(site))) return 'foreign';
    if (origin === undefined) return 'own';
    return URL.canParse(origin) && isSameHost(new URL(origin), authority) ? 'own' : 'foreign';
  };
}

/** Compares only host and port, because a proxy may terminate TLS. The authority may contain the default port. */
function isSameHost({ protocol, host }: URL, authority: string | undefined): boolean {
  const url = `${protocol}//${authority}`;
  return authority !== undefined && URL.canParse(url) && new URL(url).host === host;
}

/** The host name without brackets and port, or an empty string if it is invalid. */
function hostnameOf(authority: string | undefined): string {
  const url = `http://${authority}`;
  if (authority === undefined || !URL.canParse(url)) return '';
  return new URL(url).hostname.replace(/^\[|\]$/g, '');
}
