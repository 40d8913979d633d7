/**
 * Serves the page and other files over HTTP. It reads them once, because they are small and belong to the running
 * version.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Answer } from './router.js';

export interface WebFiles {
  /** Undefined if the path has no file. */
  find(path: string, headers: IncomingHttpHeaders): Answer | undefined;
}

export const noFiles: WebFiles = { find: () => undefined };

interface WebFile {
  readonly bytes: Buffer;
  readonly headers: Readonly<Record<string, string>>;
  /** Compressed on the first request. */
  zipped?: Buffer;
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

// The page loads code and styles from its own files, sends requests only to this server, and is in no other page.
const pagePolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

// The names of built files change with their contents.
const builtFolder = '/assets/';

/** `page` is a folder whose index.html is served at `/`, or undefined. `others` maps URL paths to files. */
export async function loadWebFiles(
  page: string | undefined,
  others: Readonly<Record<string, string>>,
): Promise<WebFiles> {
  const places = new Map(Object.entries(others));
  if (page !== undefined) {
    for (const entry of await readdir(page, { recursive: true, withFileTypes: true })) {
      const place = path.join(entry.parentPath, entry.name);
      const name = `/${path.relative(page, place).replaceAll(path.sep, '/')}`;
      if (entry.isFile()) places.set(name === '/index.html' ? '/' : name, place);
    }
  }
  const files = new Map<string, WebFile>();
  for (const [name, place] of places) files.set(name, await loadFile(name, place));

  return {
    find(name, { 'accept-encoding': accepted = '', 'if-none-match': known = '' }) {
      const file = files.get(name);
      if (file === undefined) return undefined;
      const { bytes, headers } = file;
      if (known.includes(headers.etag ?? '')) return { status: 304, body: '', headers };
      if (!/\bgzip\b/.test(String(accepted))) return { status: 200, body: bytes, headers };
      file.zipped ??= gzipSync(bytes, { level: 9 });
      return { status: 200, body: file.zipped, headers: { ...headers, 'content-encoding': 'gzip' } };
    },
  };
}

async function loadFile(name: string, place: string): Promise<WebFile> {
  const bytes = await readFile(place);
  const isPage = path.extname(place) === '.html';
  const headers = {
    'content-type': contentTypes[path.extname(place)] ?? 'application/octet-stream',
    'cache-control': name.startsWith(builtFolder) ? 'public, max-age=31536000, immutable' : 'no-cache',
    etag: `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`,
    vary: 'origin, accept-encoding',
    'referrer-policy': 'no-referrer',
    ...(isPage ? { 'content-security-policy': pagePolicy, 'cross-origin-opener-policy': 'same-origin' } : {}),
  };
  return { bytes, headers };
}
