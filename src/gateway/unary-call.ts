/**
 * Serves unary Connect calls that are sent with POST, which are most of a gateway's calls. connect-node serves the other
 * protocols; for these calls it would take several times as long. https://connectrpc.com/docs/protocol
 */
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { DescMethod, Registry } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { codeToHttpStatus, contentTypeUnaryRegExp, errorToJson } from '@connectrpc/connect/protocol-connect';
import type { ByteBudget } from '../grpc-server/byte-budget.js';
import type { HeaderFields } from '../grpc-server/stream.js';
import { Fault, overloaded } from '../model/fault.js';
import { requestTooLarge } from '../rpc/wire-definition.js';
import { compressions } from './compressions.js';
import { passedOn } from './error-details.js';
import { errorHeaders } from './error-headers.js';
import type { HttpRequest, HttpResponse } from './gateway.js';
import { jsonOfBytes } from './json-answer.js';
import { isResponseMetadata, requestMetadataFields } from './metadata.js';
import type { OpenCall } from './open-call.js';
import { Disconnected, paceWholeResponse, readPaced } from './pace.js';
import { ProtocolError, toConnectError } from './refusal.js';
import {
  checkHeaders,
  connectTimeoutMs,
  type HeaderReader,
  headerReader,
  isJsonRequest,
  requestFormat,
} from './request-format.js';
import { readOnlyMessage } from './request-messages.js';
import type { UnaryAnswer } from './unary-exchange.js';
import type { Upstream } from './upstream.js';

export interface UnaryOptions {
  readonly registry: Registry;
  readonly upstream: Upstream;
  readonly budget: ByteBudget;
  /** Called with errors that were not caused by a client. */
  onError(error: unknown): void;
}

interface HttpAnswer {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: string | Uint8Array;
}

// Smaller bodies would hardly become smaller.
const compressedBytesMin = 1024;

/** Whether `serveUnary` serves the request. */
export function isUnaryConnect({ methodKind }: DescMethod, { method, headers }: HttpRequest): boolean {
  return methodKind === 'unary' && method === 'POST' && contentTypeUnaryRegExp.test(headers['content-type'] ?? '');
}

/** Serves a call. Rejects only if the response cannot be written. */
export async function serveUnary(
  method: DescMethod,
  open: OpenCall,
  response: HttpResponse,
  options: UnaryOptions,
): Promise<void> {
  const header = headerReader(open.request.headers);
  open.call.isJson = isJsonRequest(header);
  let answer: HttpAnswer;
  try {
    answer = await forward(method, header, open, response, options);
  } catch (error) {
    if (error instanceof Disconnected || response.destroyed || response.closed) return;
    answer = errorAnswer(open, error, options);
  }
  const whole = await compressed(answer, header);
  if (response.destroyed || response.closed) return;
  whole.headers['content-length'] = Buffer.byteLength(whole.body);
  // Both kinds of response have this form of the method.
  (response as ServerResponse).writeHead(whole.status, whole.headers);
  await paceWholeResponse(whole.body, response, { ...open.pace, hold: open.answerHold });
}

/** Reads the request, and returns the server's answer. */
async function forward(
  method: DescMethod,
  header: HeaderReader,
  open: OpenCall,
  response: HttpResponse,
  { registry, upstream, budget }: UnaryOptions,
): Promise<HttpAnswer> {
  const { request, call, pace, path } = open;
  const startMs = performance.now();
  const format = requestFormat(method, header);
  if (!budget.admits()) throw overloaded();
  checkHeaders(header);
  if (format.announcedBytes > format.bytesMax) throw requestTooLarge(format.bytesMax);
  const metadata = requestMetadataFields(request.headers);
  let message: Uint8Array | undefined;
  if (await upstream.knowsCaller(metadata, call.connection)) {
    const body = await readPaced(request, format.bytesMax, pace);
    message = await readOnlyMessage(body, format, pace.hold, registry);
  }
  const timeoutMs = remainingMs(connectTimeoutMs(header), startMs);
  if (timeoutMs !== undefined && timeoutMs <= 0) throw new Fault('DEADLINE_PASSED', 'The deadline has passed.');
  if (response.destroyed || response.closed) throw new Disconnected();
  const exchange = upstream.unary({ method, path, connection: call.connection, metadata, timeoutMs, message });
  call.isForwarded = true;
  response.once('close', exchange.cancel);
  const answer = await exchange.answer;
  if (call.refusal !== undefined) throw call.refusal;
  return answer.result instanceof ConnectError
    ? failedAnswer(answer, passedOn(answer.result, registry), registry)
    : successAnswer(method, answer, answer.result, call.isJson, registry);
}

/** In whole milliseconds, as both protocols have it. */
function remainingMs(timeoutMs: number | undefined, startMs: number): number | undefined {
  return timeoutMs && Math.ceil(timeoutMs - (performance.now() - startMs));
}

async function successAnswer(
  method: DescMethod,
  { header, trailer }: UnaryAnswer,
  message: Uint8Array,
  isJson: boolean,
  registry: Registry,
): Promise<HttpAnswer> {
  const headers: OutgoingHttpHeaders = { 'content-type': isJson ? 'application/json' : 'application/proto' };
  addMetadata(headers, header, '');
  addMetadata(headers, trailer, 'trailer-');
  return { status: 200, headers, body: isJson ? await jsonOfBytes(method.output, message, registry) : message };
}

function failedAnswer({ header, trailer }: UnaryAnswer, error: ConnectError, registry: Registry): HttpAnswer {
  const headers: OutgoingHttpHeaders = { 'content-type': 'application/json' };
  addMetadata(headers, header, '');
  addMetadata(headers, trailer, '');
  for (const [name, value] of errorHeaders(error)) headers[name] ??= value;
  return { status: codeToHttpStatus(error.code), headers, body: JSON.stringify(errorToJson(error, { registry })) };
}

/** The answer for a call that the gateway refuses, or that fails in the gateway. */
function errorAnswer({ call }: OpenCall, error: unknown, { registry, onError }: UnaryOptions): HttpAnswer {
  let connectError: ConnectError;
  if (error instanceof Fault || error instanceof ProtocolError) {
    call.refusal = error;
    connectError = toConnectError(error, call.requestId, registry);
  } else if (error instanceof ConnectError) connectError = error;
  else {
    onError(error);
    connectError = new ConnectError('internal error', Code.Internal);
  }
  const header = [...connectError.metadata].flat();
  return failedAnswer({ header, trailer: [], result: connectError }, connectError, registry);
}

function addMetadata(headers: OutgoingHttpHeaders, fields: HeaderFields, prefix: string): void {
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index] ?? '';
    const value = fields[index + 1] ?? '';
    if (name.startsWith(':') || !isResponseMetadata(name)) continue;
    const key = prefix + name;
    const earlier = headers[key];
    if (earlier === undefined) headers[key] = value;
    // The only header whose values cannot be joined.
    else if (key === 'set-cookie') headers[key] = [earlier, value].flat().map(String);
    else headers[key] = `${earlier}, ${value}`;
  }
}

async function compressed(answer: HttpAnswer, header: HeaderReader): Promise<HttpAnswer> {
  if (Buffer.byteLength(answer.body) < compressedBytesMin) return answer;
  // A client that does not list encodings accepts the one that it uses.
  const accepted = header.get('accept-encoding') ?? header.get('content-encoding') ?? '';
  const names = accepted.split(',').map((name) => name.trim());
  const compression = names.map((name) => compressions.find((each) => each.name === name)).find(Boolean);
  if (compression === undefined) return answer;
  const body = await compression.compress(new Uint8Array(Buffer.from(answer.body)));
  return { ...answer, headers: { ...answer.headers, 'content-encoding': compression.name }, body };
}
