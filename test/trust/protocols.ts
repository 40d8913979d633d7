/** Sends one call in each protocol, in raw bytes, and reads what a client learns from the answer. */
import { readFileSync } from 'node:fs';
import { type ClientHttp2Session, connect } from 'node:http2';
import {
  createFileRegistry,
  type DescMethod,
  fromBinary,
  fromJson,
  type JsonObject,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { FileDescriptorSetSchema, MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { codeFromString } from '@connectrpc/connect/protocol-connect';
import { Status } from 'nice-grpc-common';
import { ErrorInfo } from 'nice-grpc-error-details';
import { enveloped } from '../gateway/echo-service.js';

const descriptors = readFileSync(new URL('../../generated/descriptors.binpb', import.meta.url));
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));

/** Every method of the contract. */
export const methods: readonly DescMethod[] = [...registry].flatMap((type) =>
  type.kind === 'service' ? type.methods : [],
);

export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

export interface Answer {
  readonly httpStatus: number;
  /** Such as `OK`. */
  readonly status: string;
  readonly reason: string | undefined;
  readonly message: string;
  /** Headers and, where the protocol has them, trailers. */
  readonly headers: Readonly<Record<string, string>>;
  /** The bytes of the body. */
  readonly size: number;
}

/** A name, followed by its value. */
export type Fields = readonly string[];

export interface Protocol {
  readonly name: string;
  readonly port: 'grpc' | 'http';
  serves(method: DescMethod): boolean;
  /** The path, the headers and the body of a request. */
  encode(method: DescMethod, message: JsonObject): Encoded;
  decode(response: Response): Omit<Answer, 'httpStatus' | 'headers' | 'size'>;
}

interface Encoded {
  readonly verb?: string;
  readonly path?: string;
  readonly fields?: Fields;
  readonly body?: Uint8Array;
}

interface Response {
  readonly httpStatus: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

type Outcome = ReturnType<Protocol['decode']>;

const bytesOf = (method: DescMethod, message: JsonObject) =>
  toBinary(method.input, fromJson(method.input, message, { registry }));
const jsonOf = (method: DescMethod, message: JsonObject) =>
  Buffer.from(JSON.stringify(toJson(method.input, fromJson(method.input, message, { registry }), { registry })));
const isUnary = ({ methodKind }: DescMethod) => methodKind === 'unary';
const isStream = (method: DescMethod) => !isUnary(method);
const ofType = (type: string, ...more: string[]): Fields => ['content-type', type, ...more];

const ok: Outcome = { status: 'OK', reason: undefined, message: '' };

/** Reads grpc-status and the details, wherever the answer has them. */
function grpcOutcome(fields: Readonly<Record<string, string>>): Outcome {
  const code = Number(fields['grpc-status'] ?? 'NaN');
  if (code === 0) return ok;
  const message = decodeURIComponent(fields['grpc-message'] ?? '');
  return { status: Status[code] ?? 'NONE', reason: reasonOf(fields['grpc-status-details-bin']), message };
}

function reasonOf(details: string | undefined): string | undefined {
  const reader = new BinaryReader(Buffer.from(details ?? '', 'base64'));
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    if (number !== 3) reader.skip(wire);
    else {
      const any = new BinaryReader(reader.bytes());
      any.tag();
      const type = any.string();
      any.tag();
      if (type.endsWith('/google.rpc.ErrorInfo')) return ErrorInfo.decode(any.bytes()).reason;
    }
  }
  return undefined;
}

function webOutcome({ headers, body }: Response): Outcome {
  for (let at = 0; at + 5 <= body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    if (((body[at] ?? 0) & 0x80) !== 0) {
      const lines = body
        .subarray(at + 5, end)
        .toString()
        .split('\r\n');
      return grpcOutcome(
        Object.fromEntries(lines.map((line) => [line.split(':')[0], line.slice(line.indexOf(':') + 1).trim()])),
      );
    }
    at = end;
  }
  return grpcOutcome(headers);
}

interface ConnectError {
  readonly code?: string;
  readonly message?: string;
  readonly details?: readonly { type: string; value: string }[];
}

function connectOutcome({ code = '', message = '', details = [] }: ConnectError): Outcome {
  const info = details.find(({ type }) => type === 'google.rpc.ErrorInfo');
  const reason = info && ErrorInfo.decode(Buffer.from(info.value, 'base64')).reason;
  return { status: Status[codeFromString(code) ?? Code.Unknown] ?? code, reason, message };
}

function unaryOutcome({ httpStatus, body }: Response): Outcome {
  return httpStatus === 200 ? ok : connectOutcome(JSON.parse(body.toString()));
}

function streamOutcome({ httpStatus, body }: Response): Outcome {
  if (httpStatus !== 200) return { status: `HTTP_${httpStatus}`, reason: undefined, message: '' };
  for (let at = 0; at + 5 <= body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    if (((body[at] ?? 0) & 0x02) !== 0) {
      const { error } = JSON.parse(body.subarray(at + 5, end).toString()) as { error?: ConnectError };
      return error === undefined ? ok : connectOutcome(error);
    }
    at = end;
  }
  return { status: 'INCOMPLETE', reason: undefined, message: '' };
}

function grpcOn(port: Protocol['port']): Protocol {
  return {
    name: port === 'grpc' ? 'gRPC' : 'gRPC on the HTTP port',
    port,
    serves: () => true,
    encode: (method, message) => ({
      fields: ofType('application/grpc+proto', 'te', 'trailers'),
      body: enveloped(bytesOf(method, message)),
    }),
    decode: ({ headers }) => grpcOutcome(headers),
  };
}

const fromText = ({ body, ...response }: Response): Response => ({
  ...response,
  body: Buffer.concat((body.toString().match(/[^=]+={0,2}/g) ?? []).map((part) => Buffer.from(part, 'base64'))),
});

export const protocols: readonly Protocol[] = [
  grpcOn('grpc'),
  grpcOn('http'),
  {
    name: 'gRPC-Web',
    port: 'http',
    serves: () => true,
    encode: (method, message) => ({
      fields: ofType('application/grpc-web+proto'),
      body: enveloped(bytesOf(method, message)),
    }),
    decode: webOutcome,
  },
  {
    name: 'gRPC-Web text',
    port: 'http',
    serves: () => true,
    encode: (method, message) => ({
      fields: ofType('application/grpc-web-text+proto'),
      body: Buffer.from(enveloped(bytesOf(method, message)).toString('base64')),
    }),
    decode: (response) => webOutcome(fromText(response)),
  },
  {
    name: 'Connect',
    port: 'http',
    serves: isUnary,
    encode: (method, message) => ({ fields: ofType('application/proto'), body: bytesOf(method, message) }),
    decode: unaryOutcome,
  },
  {
    name: 'JSON',
    port: 'http',
    serves: isUnary,
    encode: (method, message) => ({ fields: ofType('application/json'), body: jsonOf(method, message) }),
    decode: unaryOutcome,
  },
  {
    name: 'Connect GET',
    port: 'http',
    serves: (method) => isUnary(method) && method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS,
    encode: (method, message) => {
      const query = new URLSearchParams({ connect: 'v1', encoding: 'json', message: `${jsonOf(method, message)}` });
      return { verb: 'GET', path: `${pathOf(method)}?${query}` };
    },
    decode: unaryOutcome,
  },
  {
    name: 'Connect stream',
    port: 'http',
    serves: isStream,
    encode: (method, message) => ({
      fields: ofType('application/connect+proto'),
      body: enveloped(bytesOf(method, message)),
    }),
    decode: streamOutcome,
  },
  {
    name: 'Connect stream of JSON',
    port: 'http',
    serves: isStream,
    encode: (method, message) => ({
      fields: ofType('application/connect+json'),
      body: enveloped(jsonOf(method, message)),
    }),
    decode: streamOutcome,
  },
];

export interface ClientFiles {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Connects over TLS and HTTP/2, with or without a client certificate. Sends headers as they are, also twice. */
export function openSession(port: number, files: ClientFiles): ClientHttp2Session {
  const options = { ...files, servername: 'localhost', strictSingleValueFields: false };
  return connect(`https://127.0.0.1:${port}`, options);
}

interface SendOptions {
  readonly fields?: Fields;
  /** Added to the URL. */
  readonly query?: string;
  /** Sends the body only after the answer. */
  readonly withholdsBody?: boolean;
}

export async function send(
  session: ClientHttp2Session,
  protocol: Protocol,
  method: DescMethod,
  message: JsonObject,
  { fields = [], query = '', withholdsBody }: SendOptions = {},
): Promise<Answer> {
  const { verb = 'POST', path = pathOf(method), fields: own = [], body } = protocol.encode(method, message);
  const url = query === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${query}`;
  const header = [':method', verb, ':path', url, ':scheme', 'https', ':authority', 'localhost'];
  // The same id for all, so that equal answers have equal sizes.
  const sent = [...header, ...own, 'x-request-id', 'matrix', ...fields];
  const response = await exchange(session, sent, body, withholdsBody);
  const { httpStatus, headers } = response;
  return { httpStatus, headers, size: response.body.length, ...protocol.decode(response) };
}

/** Sends a request over HTTP/2. */
export function exchange(
  session: ClientHttp2Session,
  fields: Fields,
  body?: Uint8Array,
  withholdsBody = false,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const stream = session.request([...fields] as never);
    const headers: Record<string, string> = {};
    const chunks: Buffer[] = [];
    const add = (block: object) => void Object.assign(headers, block);
    stream
      .on('response', add)
      .on('trailers', add)
      .on('data', (chunk: Buffer) => void chunks.push(chunk));
    stream.on('error', reject);
    stream.on('close', () => {
      resolve({ httpStatus: Number(headers[':status']), headers, body: Buffer.concat(chunks) });
    });
    if (withholdsBody) stream.on('end', () => stream.end(body));
    else stream.end(body);
  });
}
