/** Turns nice-grpc's service definitions, implementations and middleware into the methods of the server. */
import type { CompatServiceDefinition, MethodDefinition } from 'nice-grpc';
import type { CallContext, MethodDescriptor, ServerMiddleware } from 'nice-grpc-common';
import type { ServedMethod } from './served-method.js';

type AnyMethod = MethodDefinition<unknown, unknown, unknown, unknown>;
type Implementation = (request: unknown, context: CallContext) => unknown;

/** The parts of ts-proto's service definitions that are used here. */
interface TsProtoService {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, TsProtoMethod>>;
}

interface TsProtoMethod {
  readonly name: string;
  readonly requestType: TsProtoType;
  readonly requestStream: boolean;
  readonly responseType: TsProtoType;
  readonly responseStream: boolean;
  readonly options: AnyMethod['options'];
}

interface TsProtoType {
  encode(message: unknown): { finish(): Uint8Array };
  decode(bytes: Uint8Array): unknown;
  fromPartial?(message: unknown): unknown;
}

export interface ServiceOptions {
  requestBytesMax(path: string): number;
  readonly middleware: ServerMiddleware | undefined;
}

/** Throws if the implementation lacks a method. */
export function servedMethods(
  definition: CompatServiceDefinition,
  implementation: object,
  { requestBytesMax, middleware }: ServiceOptions,
): ServedMethod[] {
  return methodsOf(definition).map(([key, method]) => {
    const { path, requestStream, responseStream, options } = method;
    const handler: unknown = Reflect.get(implementation, key);
    if (typeof handler !== 'function') throw new TypeError(`The implementation of ${path} has no function ${key}.`);
    const implement: Implementation = handler.bind(implementation);
    const descriptor = { path, requestStream, responseStream, options };
    return {
      path,
      requestStream,
      responseStream,
      requestBytesMax: requestBytesMax(path),
      decode: method.requestDeserialize,
      encode: method.responseSerialize,
      handle: middleware === undefined ? implement : withMiddleware(descriptor, implement, middleware),
    };
  });
}

function methodsOf(definition: CompatServiceDefinition): [string, AnyMethod][] {
  if (isTsProto(definition)) {
    return Object.entries(definition.methods).map(([key, method]) => [key, fromTsProto(definition, method)]);
  }
  // nice-grpc's form, and grpc-js's, which has other keys.
  return Object.entries(definition).map(([key, method]) => {
    const isGrpcJs = 'originalName' in method;
    return [isGrpcJs ? key.charAt(0).toLowerCase() + key.slice(1) : key, { options: {}, ...method } as AnyMethod];
  });
}

function isTsProto(definition: object): definition is TsProtoService {
  return 'methods' in definition && 'fullName' in definition && typeof definition.fullName === 'string';
}

function fromTsProto({ fullName }: TsProtoService, method: TsProtoMethod): AnyMethod {
  const { name, requestType, responseType, requestStream, responseStream, options } = method;
  const encodeWith = (type: TsProtoType) => (message: unknown) =>
    type.encode(type.fromPartial === undefined ? message : type.fromPartial(message)).finish();
  return {
    path: `/${fullName}/${name}`,
    requestStream,
    responseStream,
    requestSerialize: encodeWith(requestType),
    requestDeserialize: (bytes) => requestType.decode(bytes),
    responseSerialize: encodeWith(responseType),
    responseDeserialize: (bytes) => responseType.decode(bytes),
    options,
  };
}

/** Runs a handler within middleware, with nice-grpc's checks of what the middleware does. */
function withMiddleware(
  method: MethodDescriptor,
  implement: Implementation,
  middleware: ServerMiddleware,
): ServedMethod['handle'] {
  const { path, requestStream, responseStream } = method;
  async function* next(request: unknown, context: CallContext): AsyncGenerator<never, unknown, undefined> {
    if (isAsyncIterable(request) !== requestStream) {
      throw new Error(`A middleware passed an invalid request to next() of ${path}.`);
    }
    const result = implement(request, context);
    if (!responseStream) return await result;
    return yield* result as AsyncGenerator<never, unknown, undefined>;
  }
  const run = (request: unknown, context: CallContext) =>
    middleware({ method, requestStream, request, responseStream, next } as never, context);
  if (responseStream) {
    return async function* (request, context) {
      const value: unknown = yield* run(request, context);
      if (value != null) throw new Error(`A middleware returned a message, but ${path} yields messages.`);
    };
  }
  return async (request, context) => {
    const iterator = run(request, context);
    const { done, value } = await iterator.next();
    if (!done) {
      await iterator.return(undefined as never);
      throw new Error(`A middleware yielded a message, but ${path} returns one.`);
    }
    if (value == null) throw new Error(`A middleware returned nothing, but ${path} returns a message.`);
    return value;
  };
}

function isAsyncIterable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}
