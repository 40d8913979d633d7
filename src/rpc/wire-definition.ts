/** Defines how requests are read from the wire and responses are written to it. */
import type { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire';
import type { MethodDefinition } from 'nice-grpc';
import { Fault } from '../model/fault.js';
import { requestBytesMax, requestElementsMax } from '../model/method-limits.js';
import { messageBytesMax } from '../model/user.js';
import { malformed, readMessage, type Shape, shape } from './message-reader.js';

interface MessageType {
  encode(message: never): BinaryWriter;
  decode(input: BinaryReader | Uint8Array): unknown;
}

interface GeneratedMethod {
  readonly name: string;
  readonly requestType: MessageType;
  readonly requestStream: boolean;
  readonly responseType: MessageType;
  readonly responseStream: boolean;
  readonly options: { readonly idempotencyLevel?: 'IDEMPOTENT' | 'NO_SIDE_EFFECTS' };
}

interface GeneratedDefinition {
  readonly fullName: string;
  readonly methods: Readonly<Record<string, GeneratedMethod>>;
}

type MessageOf<T extends MessageType> = ReturnType<T['decode']>;

type WireMethod<M extends GeneratedMethod, Request, Response> = MethodDefinition<
  MessageOf<M['requestType']>,
  Request,
  Response,
  MessageOf<M['responseType']>,
  M['requestStream'],
  M['responseStream']
>;

/** The shape of each method's request. */
export type Shapes<D extends GeneratedDefinition> = { readonly [M in keyof D['methods']]: Shape<unknown> };

/** Encoders for the responses of some methods, by name. The bytes are copied before the next call of an encoder. */
export type Encoders = Readonly<Record<string, (response: never) => Uint8Array>>;

export type WireDefinition<D extends GeneratedDefinition, S extends Shapes<D>, E extends Encoders> = {
  [M in keyof D['methods']]: WireMethod<
    D['methods'][M],
    ReturnType<S[M]['create']>,
    M extends keyof E ? Parameters<E[M]>[0] : MessageOf<D['methods'][M]['responseType']>
  >;
};

/**
 * Creates a nice-grpc definition from one of ts-proto. `shapes` read the requests. `encoders`, or the generated code,
 * encode the responses directly, because nice-grpc would first copy each with fromPartial.
 */
export function wireDefinition<D extends GeneratedDefinition, S extends Shapes<D>, E extends Encoders>(
  definition: D,
  shapes: S,
  encoders: E,
): WireDefinition<D, S, E> {
  const shapeOf: Readonly<Record<string, Shape<unknown>>> = shapes;
  const methods = Object.entries(definition.methods).map(([key, method]): [string, unknown] => {
    const { requestType, responseType } = method;
    const path = `/${definition.fullName}/${method.name}`;
    const wireMethod: MethodDefinition<never, unknown, never, unknown> = {
      path,
      requestStream: method.requestStream,
      responseStream: method.responseStream,
      requestSerialize: (message) => requestType.encode(message).finish(),
      requestDeserialize: requestReader(path, shapeOf[key] ?? noFields),
      responseSerialize: encoders[key] ?? ((message) => responseType.encode(message).finish()),
      responseDeserialize: (bytes) => responseType.decode(bytes),
      options: method.options,
    };
    return [key, wireMethod];
  });
  return Object.fromEntries(methods) as WireDefinition<D, S, E>;
}

/** Defines one method of a service without a generated definition, for servers only. */
export function wireMethod<
  Request,
  Response,
  const RequestStream extends boolean,
  const ResponseStream extends boolean,
>(method: {
  readonly path: string;
  readonly request: Shape<Request>;
  readonly encode: (response: Response) => Uint8Array;
  readonly requestStream: RequestStream;
  readonly responseStream: ResponseStream;
}): MethodDefinition<Request, Request, Response, unknown, RequestStream, ResponseStream> {
  const { path, request, encode, requestStream, responseStream } = method;
  const ofClient = (): never => {
    throw new TypeError('This definition is for servers only.');
  };
  return {
    path,
    requestStream,
    responseStream,
    requestDeserialize: requestReader(path, request),
    responseSerialize: encode,
    requestSerialize: ofClient,
    responseDeserialize: ofClient,
    options: {},
  };
}

const noFields = shape(() => ({}));

/** Creates a reader for the requests of one method. It throws a Fault for invalid bytes and requests over the limits. */
export function requestReader<Request>(path: string, type: Shape<Request>): (bytes: Uint8Array) => Request {
  const bytesMax = requestBytesMax[path] ?? 0;
  const elementLimits = requestElementsMax[path] ?? {};
  return (bytes) => {
    if (bytes.length > bytesMax) throw requestTooLarge(bytesMax);
    try {
      const request = readMessage(type, bytes, elementLimits);
      if (bytes.length > largeBytes && typeof request === 'object' && request !== null) {
        bytesOfLarge.set(request, bytes.length);
      }
      return request;
    } catch (error) {
      // TextDecoder throws a TypeError for invalid UTF-8.
      throw error instanceof Fault ? error : malformed();
    }
  };
}

export function requestTooLarge(bytesMax: number): Fault {
  const isLargest = bytesMax === messageBytesMax;
  const advice = isLargest ? 'Send fewer users in one message.' : 'Send a smaller request.';
  return new Fault('MESSAGE_TOO_LARGE', `A request of this method must have at most ${bytesMax} bytes. ${advice}`);
}

export function responseTooLarge(): Fault {
  return new Fault('MESSAGE_TOO_LARGE', 'The response would have more than 4 MiB. Request fewer users at once.');
}

// Only large messages are recorded, so small ones cost nothing.
const largeBytes = 1024 * 1024;
const bytesOfLarge = new WeakMap<object, number>();

/** Returns the size of a request on the wire if it had more than 1 MiB. */
export function bytesOf(request: object): number | undefined {
  return bytesOfLarge.get(request);
}
