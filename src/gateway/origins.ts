/**
 * Whose pages may call. A browser sends what any page tells it to; only its headers say which page that was: Origin, Host
 * and Sec-Fetch-Site, which is also sent with a GET that has no Origin.
 */
import { isLoopback } from '../config.js';
import type { HttpRequest } from './gateway.js';

/**
 * `own` is this server's page, or no page at all; `allowed` another one that may call; `foreign` one that may not.
 *
 * `foreign host` is a name that leads to this machine and should not: where only this machine can connect, a page
 * elsewhere could have its own name point here, and would then be of the same origin (DNS rebinding). `no host` is a
 * Host that names nobody, where any name will do.
 */
export type Verdict = 'own' | 'allowed' | 'foreign' | 'foreign host' | 'no host';

// What a browser says of a page of another site, and of a page with another host name of the same site.
const otherSites: ReadonlySet<string> = new Set(['cross-site', 'same-site']);

/**
 * Whether somebody has followed a link: the browser then shows what is there, and no page can read it. In a frame or an
 * object of another page, it could be observed.
 */
export function isNavigation({ method, headers }: HttpRequest): boolean {
  return method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
}

/** `host` is where the server listens; `corsOrigins` are as in `https://app.example.com`, `*` is every one. */
export function createOriginRule(host: string, corsOrigins: readonly string[]): (request: HttpRequest) => Verdict {
  const isAnyAllowed = corsOrigins.includes('*');
  const allowed = new Set(corsOrigins);
  // A proxy in front may pass on the name that it has itself.
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
    return URL.canParse(origin) && isOf(new URL(origin), own) ? 'own' : 'foreign';
  };
}

/** Of the host and port alone, as a proxy in front may be the one who has TLS; and may say a port that need not be said. */
function isOf({ protocol, host }: URL, authority: string | undefined): boolean {
  const url = `${protocol}//${authority}`;
  return authority !== undefined && URL.canParse(url) && new URL(url).host === host;
}

/** Without brackets and port; empty for what is none. */
function hostnameOf(authority: string | undefined): string {
  const url = `http://${authority}`;
  if (authority === undefined || !URL.canParse(url)) return '';
  return new URL(url).hostname.replace(/^\[|\]$/g, '');
}
