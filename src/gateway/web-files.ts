/**
 * Loads the page and other files into memory, and serves them over HTTP. It never reads them again, because they are
 * small and belong to the running version.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import type { ResponseContent } from './router.js';

export interface WebFiles {
  /** Returns undefined if no file has this path. The page may also send requests to `origins`. */
  find(path: string, headers: IncomingHttpHeaders, origins?: readonly string[]): ResponseContent | undefined;
}

export const noFiles: WebFiles = { find: () => undefined };

interface WebFile {
  readonly bytes: Buffer;
  readonly isPage: boolean;
  readonly headers: Readonly<Record<string, string>>;
  /** Compressed when the page was built (web/vite.config.ts), if it was. */
  readonly brotli: Buffer | undefined;
  /** Compressed on the first request. */
  gzipped?: Buffer;
}

const contentTypes: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.webmanifest': 'application/manifest+json',
};

/**
 * The page loads code and styles only from its own files, and sends requests only to this server and to the issuer that
 * its users sign in with. No other page may embed it.
 */
function pagePolicy(origins: readonly string[]): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    ["connect-src 'self'", ...origins].join(' '),
    "manifest-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ');
}

// Browsers may cache these files forever, because their names change with their contents.
const immutableFolder = '/assets/';

/** `page` is a folder whose index.html is served at `/`, or undefined. `others` maps URL paths to files. */
export async function loadWebFiles(
  page: string | undefined,
  others: Readonly<Record<string, string>>,
): Promise<WebFiles> {
  const filePaths = new Map(Object.entries(others));
  if (page !== undefined) {
    for (const entry of await readdir(page, { recursive: true, withFileTypes: true })) {
      const filePath = path.join(entry.parentPath, entry.name);
      const name = `/${path.relative(page, filePath).replaceAll(path.sep, '/')}`;
      if (entry.isFile()) filePaths.set(name === '/index.html' ? '/' : name, filePath);
    }
  }
  const files = new Map<string, WebFile>();
  for (const [name, filePath] of filePaths) {
    if (!name.endsWith('.br')) files.set(name, await loadFile(name, filePath, filePaths.get(`${name}.br`)));
  }

  return {
    find(name, { 'accept-encoding': accepted = '', 'if-none-match': known = '' }, origins = []) {
      const file = files.get(name);
      if (file === undefined) return undefined;
      const { bytes } = file;
      const headers = file.isPage ? withPolicy(file.headers, pagePolicy(origins)) : file.headers;
      if (known.includes(headers.etag ?? '')) return { status: 304, body: '', headers };
      if (file.brotli !== undefined && /\bbr\b/.test(String(accepted))) {
        return { status: 200, body: file.brotli, headers: { ...headers, 'content-encoding': 'br' } };
      }
      if (!/\bgzip\b/.test(String(accepted))) return { status: 200, body: bytes, headers };
      file.gzipped ??= gzipSync(bytes, { level: 9 });
      return { status: 200, body: file.gzipped, headers: { ...headers, 'content-encoding': 'gzip' } };
    },
  };
}

/** A browser that has the page with another policy must not keep it, so the policy is part of the ETag. */
function withPolicy(headers: WebFile['headers'], policy: string): WebFile['headers'] {
  return { ...headers, etag: etagOf(`${headers.etag} ${policy}`), 'content-security-policy': policy };
}

function etagOf(content: string | Buffer): string {
  return `"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"`;
}

async function loadFile(name: string, filePath: string, brotliPath: string | undefined): Promise<WebFile> {
  const bytes = await readFile(filePath);
  const brotli = brotliPath === undefined ? undefined : await readFile(brotliPath);
  const isPage = path.extname(filePath) === '.html';
  const headers = {
    'content-type': contentTypes[path.extname(filePath)] ?? 'application/octet-stream',
    'cache-control': name.startsWith(immutableFolder) ? 'public, max-age=31536000, immutable' : 'no-cache',
    etag: etagOf(bytes),
    vary: 'origin, accept-encoding',
    'referrer-policy': 'no-referrer',
    ...(isPage ? { 'cross-origin-opener-policy': 'same-origin', link: scriptLink(bytes.toString()) } : {}),
  };
  return { bytes, brotli, isPage, headers };
}

/**
 * A Link header for the page's script. Because it comes before all other links, the browser requests the script on the
 * connection that it already has, and waits a round trip less for it than for a new connection.
 */
function scriptLink(html: string): string {
  const [, script] = /<script type="module"[^>]* src="([^"]+)"/.exec(html) ?? [];
  return script === undefined ? '' : `<${script}>; rel=modulepreload; crossorigin`;
}
