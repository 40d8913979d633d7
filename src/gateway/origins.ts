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
 * `foreign host` is a host name that is not loopback, if the server listens only on loopback. Otherwise a page could
 * point its own name here, to have the same origin (DNS rebinding). `no host` is an invalid Host header.
 */
export type Verdict = 'own' | 'allowed' | 'foreign' | 'foreign host' | 'no host';

// Sec-Fetch-Site for a page of another site, and for a page of another host of the same site.
const otherSites: ReadonlySet<string> = new Set(['cross-site', 'same-site']);

/**
 * Whether the user followed a link. The browser then shows the answer, and no page can read it. A frame or an object is
 * not a navigation, because its page could observe it.
 */
export function isNavigation({ method, headers }: HttpRequest): boolean {
  return method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
}

/** `host` is where the server listens. `corsOrigins` are origins such as `https://app.example.com`, or `*` for all. */
export function createOriginRule(host: string, corsOrigins: readonly string[]): (request: HttpRequest) => Verdict {
  const isAnyAllowed = corsOrigins.includes('*');
  const allowed = new Set(corsOrigins);
  // A proxy in front may send its own host name.
  const names = new Set(corsOrigins.filter((origin) => origin !== '*').map((origin) => new URL(origin).hostname));
  const isLocal = isLoopback(host);

  return (request) => {
    const { origin, 'sec-fetch-site': site = '' } = request.headers;
    const own = 'authority' in request ? request.authority : request.headers.host;
    const name = hostnameOf(own);
    if (isLocal && !isAnyAllowed && !isLoopback(name) && !names.has(name)) return 'foreign host';
    if (name === '') return 'no host';
    if (origin !== undefined && (isAnyAllowed || allowed.has(origin))) return 'allowed';
    if (!isAnyAllowed && otherSites.has(String(site))) return 'foreign';
    if (origin === undefined) return 'own';
    return URL.canParse(origin) && isSameHost(new URL(origin), own) ? 'own' : 'foreign';
  };
}

/** Compares only host and port, because a proxy may terminate TLS. A proxy may also send the default port. */
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
