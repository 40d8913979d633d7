/**
 * Fetches a JSON document of an issuer. Everything is bounded, because an issuer may be broken or slow, and redirects
 * are errors, because they could lead anywhere.
 */
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isLoopback } from '../net/address.js';

export interface FetchOptions {
  /** The authorities of the server's certificate, in PEM. */
  readonly caFile?: string;
  /** A bearer token for the server. */
  readonly tokenFile?: string;
  /** Whether a loopback address may be used without TLS. */
  readonly allowsLoopback: boolean;
  readonly signal: AbortSignal;
}

export interface FetchedJson {
  readonly body: unknown;
  /** How long the document may be kept, in seconds, if the server says so. */
  readonly maxAgeSeconds: number | undefined;
}

const fetchTimeoutMs = 5000;
const bodyBytesMax = 512 * 1024;

/** Why a document could not be fetched. The text has the URL, but no secret. */
export class FetchError extends Error {
  override readonly name = 'FetchError';
}

export async function fetchJson(address: string, options: FetchOptions): Promise<FetchedJson> {
  const url = checkedUrl(address, options.allowsLoopback);
  const ca = options.caFile === undefined ? undefined : await readFile(options.caFile);
  const token = options.tokenFile === undefined ? undefined : (await readFile(options.tokenFile, 'utf8')).trim();
  const signal = AbortSignal.any([options.signal, AbortSignal.timeout(fetchTimeoutMs)]);
  const headers = { accept: 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) };
  // Without an agent, so that no connection stays open until the next fetch.
  const settings = { headers, signal, agent: false, ca, minVersion: 'TLSv1.2' as const };
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const fail = (cause: Error) => reject(new FetchError(`${url.href} cannot be fetched`, { cause }));
    const start = url.protocol === 'https:' ? requestHttps : requestHttp;
    start(url, settings, resolve).on('error', fail).end();
  });
  try {
    if (response.statusCode !== 200) throw new Error(`HTTP status ${response.statusCode}`);
    const body = JSON.parse((await read(response)).toString('utf8')) as unknown;
    return { body, maxAgeSeconds: maxAgeOf(response.headers) };
  } catch (cause) {
    throw new FetchError(`${url.href} did not answer with a JSON document`, { cause });
  } finally {
    response.destroy();
  }
}

async function read(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bodyBytesMax) throw new Error(`The document has more than ${bodyBytesMax} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function checkedUrl(address: string, allowsLoopback: boolean): URL {
  const url = URL.parse(address);
  if (url === null) throw new FetchError('The address of the keys is not a URL.');
  if (url.username !== '' || url.password !== '') throw new FetchError('The URL of the keys must have no password.');
  const isSafe = url.protocol === 'https:' || (url.protocol === 'http:' && allowsLoopback && isLoopbackUrl(url));
  if (!isSafe) throw new FetchError(`${url.href} must begin with https://`);
  return url;
}

export function isLoopbackUrl(url: URL): boolean {
  return isLoopback(url.hostname.replace(/^\[(.*)\]$/, '$1'));
}

function maxAgeOf(headers: { readonly 'cache-control'?: string }): number | undefined {
  const [, seconds] = /(?:^|[\s,])max-age=(\d{1,9})(?:$|[\s,])/i.exec(headers['cache-control'] ?? '') ?? [];
  return seconds === undefined ? undefined : Number(seconds);
}
