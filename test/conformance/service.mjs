/** The service of the conformance suite for nice-grpc. The comments in its service.proto say what it must do. */
import { setTimeout as delay } from 'node:timers/promises';
import { create, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { AnySchema, anyPack } from '@bufbuild/protobuf/wkt';
import { ServerError } from 'nice-grpc-common';
import { definitionOf } from './definition.mjs';

export function addConformanceService(server, registry) {
  const implementation = conformanceService(registry);
  const service = registry.getService('connectrpc.conformance.v1.ConformanceService');
  server.add(definitionOf(service, implementation), implementation);
}

function conformanceService(registry) {
  const schemaOf = (name) => registry.getMessage(`connectrpc.conformance.v1.${name}`);
  const infoSchema = schemaOf('ConformancePayload.RequestInfo');

  const infoOf = (context, requests) => ({
    requestHeaders: [...context.metadata].map(([name, values]) => ({ name, value: values.map(textOf) })),
    timeoutMs: context.timeoutMs === undefined ? undefined : BigInt(Math.floor(context.timeoutMs)),
    requests,
  });

  /** Throws the error of a definition, with the details that it names and, if given, the request. */
  function fail(context, { code, message = '', details }, info) {
    const all = info === undefined ? details : [...details, anyPack(infoSchema, create(infoSchema, info))];
    context.trailer.set('grpc-status-details-bin', statusBytes(code, message, all));
    throw new ServerError(code, message);
  }

  async function respondOnce(definition, context, requests) {
    const info = infoOf(context, requests);
    if (definition === undefined) return { payload: { requestInfo: info } };
    setMetadata(context, definition);
    context.sendHeader();
    await delay(definition.responseDelayMs, undefined, { signal: context.signal });
    const { case: kind, value } = definition.response;
    if (kind === 'error') fail(context, value, info);
    return { payload: { data: value, requestInfo: info } };
  }

  async function* respondAll(definition, context, requests, isInfoSent = false) {
    let info = isInfoSent ? undefined : infoOf(context, requests);
    for (const data of definition?.responseData ?? []) {
      await delay(definition.responseDelayMs, undefined, { signal: context.signal });
      yield { payload: { data, requestInfo: info } };
      info = undefined;
    }
    if (definition?.error !== undefined) fail(context, definition.error, info);
  }

  async function* respondToEach(first, rest, context, pack) {
    const { responseDefinition: definition } = first;
    const left = [...(definition?.responseData ?? [])];
    let requests = [pack(first)];
    let isInfoSent = false;
    do {
      const data = left.shift();
      if (data === undefined) break;
      await delay(definition.responseDelayMs, undefined, { signal: context.signal });
      yield { payload: { data, requestInfo: isInfoSent ? { requests } : infoOf(context, requests) } };
      isInfoSent = true;
      const { done, value } = await rest.next();
      if (done) break;
      requests = [pack(value)];
    } while (true);
    yield* respondAll(definition && { ...definition, responseData: left }, context, requests, isInfoSent);
  }

  const packer = (name) => (message) => anyPack(schemaOf(name), message);
  const unary = (name) => (request, context) =>
    respondOnce(request.responseDefinition, context, [packer(name)(request)]);

  return {
    unary: unary('UnaryRequest'),
    idempotentUnary: unary('IdempotentUnaryRequest'),

    async clientStream(requests, context) {
      const all = await Array.fromAsync(requests);
      return respondOnce(all[0]?.responseDefinition, context, all.map(packer('ClientStreamRequest')));
    },

    async *serverStream(request, context) {
      setMetadata(context, request.responseDefinition);
      if (request.responseDefinition !== undefined) context.sendHeader();
      yield* respondAll(request.responseDefinition, context, [packer('ServerStreamRequest')(request)]);
    },

    async *bidiStream(requests, context) {
      const pack = packer('BidiStreamRequest');
      const { value: first } = await requests.next();
      if (first === undefined) return;
      setMetadata(context, first.responseDefinition);
      if (first.fullDuplex) {
        if (first.responseDefinition !== undefined) context.sendHeader();
        yield* respondToEach(first, requests, context, pack);
        return;
      }
      const rest = await Array.fromAsync(requests);
      yield* respondAll(first.responseDefinition, context, [first, ...rest].map(pack));
    },
  };
}

function setMetadata({ header, trailer }, definition) {
  for (const { name, value } of definition?.responseHeaders ?? []) append(header, name, value);
  for (const { name, value } of definition?.responseTrailers ?? []) append(trailer, name, value);
}

function append(metadata, name, values) {
  const key = name.toLowerCase();
  for (const value of values) metadata.append(key, key.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
}

function textOf(value) {
  return typeof value === 'string' ? value : Buffer.from(value).toString('base64').replace(/=+$/, '');
}

/** Encodes a google.rpc.Status. */
function statusBytes(code, message, details) {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int32(code).tag(2, WireType.LengthDelimited).string(message);
  for (const detail of details) writer.tag(3, WireType.LengthDelimited).bytes(toBinary(AnySchema, detail));
  return writer.finish();
}
