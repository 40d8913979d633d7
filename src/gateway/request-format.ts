/**
 * Reads how a request's body is encoded, from the headers of its protocol or the query of a Connect GET. It refuses
 * invalid headers itself, because connect-node's error texts quote them.
 */
import type { IncomingHttpHeaders } from 'node:http';
import type { DescMethod } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { invalid } from '../model/fault.js';
import { requestBytesMax } from '../model/method-limits.js';
import { messageBytesMax } from '../model/user.js';
import { ProtocolError } from './refusal.js';
import { encodings, type RequestFormat } from './request-messages.js';

// JSON is larger than the same message in protobuf.
const jsonFactor = 2;

// 27 hours, gRPC's maximum of eight digits. Connect allows ten, but Node's timers would overflow.
const timeoutMsMax = 99_999_999;

/** Both Connect protocols, for single messages and for streams, have this header. */
const connectTimeout = {
  timeout: 'connect-timeout-ms',
  timeoutForm: /^\d{1,10}$/,
  timeoutText: 'must be a number of milliseconds with at most ten digits',
} as const;

/** The headers of each protocol. */
const protocols = {
  grpc: {
    type: /^application\/grpc(?:-web)?(?:[+;]|$)/i,
    encoding: 'grpc-encoding',
    accepted: 'grpc-accept-encoding',
    timeout: 'grpc-timeout',
    timeoutForm: /^\d{1,8}[HMSmun]$/,
    timeoutText: 'must be up to eight digits and a unit: H, M, S, m, u or n',
  },
  connectStream: {
    type: /^application\/connect\+/i,
    encoding: 'connect-content-encoding',
    accepted: 'connect-accept-encoding',
    ...connectTimeout,
  },
  connect: {
    type: /^/,
    encoding: 'content-encoding',
    accepted: 'accept-encoding',
    ...connectTimeout,
  },
} as const;

type Protocol = (typeof protocols)[keyof typeof protocols];

const jsonType = /^application\/(?:(?:grpc|grpc-web|connect)\+)?json(?:\s*;|$)/i;

// connect-node accepts only this charset.
const jsonSuffix = /json(?:; ?charset=utf-?8)?$/i;

/** Has the one method of Headers that this file uses. */
export interface HeaderReader {
  get(name: string): string | null;
}

/** Reads Node's headers of a request in the same way. */
export function headerReader(headers: IncomingHttpHeaders): HeaderReader {
  return {
    get(name) {
      const value = headers[name];
      return value === undefined ? null : String(value);
    },
  };
}

export function isJsonRequest(header: HeaderReader): boolean {
  return jsonType.test(header.get('content-type') ?? '');
}

export function requestFormat(method: DescMethod, header: HeaderReader): RequestFormat {
  const protocol = protocolOf(header);
  const isJson = isJsonRequest(header);
  const protobufBytesMax = requestBytesMax[`/${method.parent.typeName}/${method.name}`] ?? messageBytesMax;
  const encoding = header.get(protocol.encoding);
  return {
    method,
    isJson,
    isEnveloped: protocol !== protocols.connect,
    encoding: encoding === '' || encoding === 'identity' ? null : encoding,
    bytesMax: isJson ? jsonFactor * protobufBytesMax : protobufBytesMax,
    announcedBytes: protocol === protocols.connect ? Number(header.get('content-length') ?? 0) : 0,
  };
}

/** Throws a Fault or a ProtocolError. */
export function checkHeaders(header: HeaderReader): void {
  const { encoding, accepted, timeout, timeoutForm, timeoutText } = protocolOf(header);
  const sentEncoding = header.get(encoding) ?? '';
  if (!['', 'identity', ...encodings].includes(sentEncoding)) {
    const all = encodings.join(',');
    throw new ProtocolError(Code.Unimplemented, `The server cannot read this compression. Use one of: ${all}.`, {
      [accepted]: all,
    });
  }
  const sentTimeout = header.get(timeout);
  if (sentTimeout !== null && !timeoutForm.test(sentTimeout)) {
    throw invalid([{ field: timeout, description: timeoutText }]);
  }
}

/** Returns the headers for connect-node, which receives empty binary messages and only valid headers. */
export function binaryHeaders(sent: Headers): Headers {
  const { encoding, accepted, timeout, timeoutForm } = protocolOf(sent);
  const header = new Headers(sent);
  if (isJsonRequest(sent)) header.set('content-type', (sent.get('content-type') ?? '').replace(jsonSuffix, 'proto'));
  header.delete('content-length');
  header.delete(encoding);
  const sentEncoding = sent.get(encoding);
  // A client that does not list encodings accepts the one that it uses.
  if (sentEncoding !== null && !sent.has(accepted)) header.set(accepted, sentEncoding);
  const sentTimeout = sent.get(timeout) ?? '';
  if (!timeoutForm.test(sentTimeout)) header.delete(timeout);
  else if (exceedsTimeoutMax(timeout, sentTimeout)) {
    header.set(timeout, timeout === 'grpc-timeout' ? `${timeoutMsMax}m` : String(timeoutMsMax));
  }
  return header;
}

/** Returns the headers of connect-node's response for a client that sent JSON. An error is JSON already. */
export function jsonHeaders(binary: Headers | undefined): Headers {
  const header = new Headers(binary);
  const type = header.get('content-type');
  if (type !== null) header.set('content-type', type.replace(/proto$/, 'json'));
  return header;
}

/** Returns the timeout of a unary Connect request whose headers are valid. */
export function connectTimeoutMs(header: HeaderReader): number | undefined {
  const timeout = header.get(connectTimeout.timeout);
  return timeout === null ? undefined : Math.min(Number(timeout), timeoutMsMax);
}

const unitMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000 };

/** Whether the timeout exceeds the maximum that both protocols support. */
function exceedsTimeoutMax(name: string, timeout: string): boolean {
  const ms =
    name === 'grpc-timeout' ? Number.parseInt(timeout, 10) * (unitMs[timeout.at(-1) ?? ''] ?? 1) : Number(timeout);
  return ms > timeoutMsMax;
}

function protocolOf(header: HeaderReader): Protocol {
  const type = header.get('content-type') ?? '';
  const { grpc, connectStream, connect } = protocols;
  return [grpc, connectStream].find((protocol) => protocol.type.test(type)) ?? connect;
}

/** Returns the content type that a Connect GET would have as a POST. */
export function typeOfGet(url: string): string {
  const encoding = String(parametersOf(url).get('encoding') ?? '');
  return ['json', 'proto'].includes(encoding) ? `application/${encoding}` : 'application/octet-stream';
}

/** Yields the message of a Connect GET as the body of a POST. Throws a Fault if a parameter is invalid. */
export async function* messageOfGet(url: string): AsyncGenerator<Uint8Array> {
  const parameters = parametersOf(url);
  if (!['', 'identity'].includes(String(parameters.get('compression') ?? ''))) {
    throw invalid([{ field: 'compression', description: 'must not be set: a GET cannot have a compressed message' }]);
  }
  const message = parameters.get('message') ?? Buffer.alloc(0);
  if (String(parameters.get('base64') ?? '') !== '1') {
    yield message;
    return;
  }
  if (!/^[\w+/-]*={0,2}$/.test(String(message))) {
    throw invalid([{ field: 'message', description: 'must be base64, because the parameter base64 is 1' }]);
  }
  yield Buffer.from(String(message), 'base64');
}

/** The values are bytes, because URLSearchParams would replace invalid UTF-8. */
function parametersOf(url: string): ReadonlyMap<string, Buffer> {
  const parts = url.slice(url.indexOf('?') + 1).split('&');
  return new Map(
    parts.map((part) => {
      const [name = '', value = ''] = part.split(/=(.*)/s);
      return [name, percentDecoded(value.replaceAll('+', ' '))];
    }),
  );
}

function percentDecoded(value: string): Buffer {
  const byteOf = (_: string, digits: string) => String.fromCharCode(Number.parseInt(digits, 16));
  return Buffer.from(value.replaceAll(/%([\da-f]{2})/gi, byteOf), 'latin1');
}
