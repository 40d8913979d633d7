/**
 * The encodings of gRPC over HTTP/2: timeouts, status messages, metadata and trailers.
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
 */
import { Metadata } from 'nice-grpc-common';
import type { HeaderFields } from './stream.js';

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** Parses the value of grpc-timeout. Returns milliseconds, or undefined if it is invalid. */
export function parseTimeout(value: string): number | undefined {
  const unit = unitMs[value.at(-1) ?? ''];
  if (unit === undefined || !/^\d{1,8}.$/.test(value)) return undefined;
  return Number(value.slice(0, -1)) * unit;
}

const unprintable = /[^ -$&-~]/;

/** Encodes a status message: bytes other than printable ASCII, and the percent sign, become %XX. */
export function encodeMessage(message: string): string {
  if (!unprintable.test(message)) return message;
  let encoded = '';
  for (const byte of Buffer.from(message)) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

/** Header fields of gRPC and of HTTP, which are not metadata. */
const reserved = new Set([
  'accept-encoding',
  'connection',
  'content-length',
  'content-type',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-message',
  'grpc-status',
  'grpc-timeout',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

const validName = /^[0-9a-z_.-]+$/;
const validText = /^[ -~]*$/;

function isReserved(name: string): boolean {
  return name.startsWith(':') || reserved.has(name);
}

/** Returns the metadata in the header of a request. Leaves out names and values that gRPC does not allow. */
export function metadataOf(fields: HeaderFields): Metadata {
  const metadata = Metadata();
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? '';
    const value = fields[index + 1] ?? '';
    if (isReserved(name) || !validName.test(name)) continue;
    if (!name.endsWith('-bin')) {
      if (validText.test(value)) metadata.append(name, value);
    } else for (const one of value.split(',')) appendBinary(metadata, name, one.trim());
  }
  return metadata;
}

const base64 = /^(?:[\w+/-]{4})*(?:[\w+/-]{2}(?:==)?|[\w+/-]{3}=?)?$/;

function appendBinary(metadata: Metadata, name: string, value: string): void {
  if (base64.test(value)) metadata.append(name, Buffer.from(value, 'base64'));
}

/** Appends metadata as header fields. Throws a TypeError for a value that no header can have. */
export function appendMetadata(fields: string[], metadata: Metadata): void {
  for (const [name, values] of metadata) {
    if (!validName.test(name)) throw new TypeError('The name of a metadata value has invalid characters.');
    if (isReserved(name)) throw new TypeError(`The metadata must not contain the header field ${name}.`);
    for (const value of values) {
      if (typeof value !== 'string') fields.push(name, Buffer.from(value).toString('base64').replace(/=+$/, ''));
      else if (validText.test(value)) fields.push(name, value.trim());
      else throw new TypeError(`The metadata value ${name} has characters other than printable ASCII.`);
    }
  }
}
