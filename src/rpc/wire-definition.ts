/**
 * How messages are read from the wire and written to it.
 *
 * A reader here never throws: grpc-js would answer INTERNAL to what is the caller's mistake.
 */
import { BinaryReader, type BinaryWriter } from '@bufbuild/protobuf/wire';
import type { MethodDefinition } from 'nice-grpc';

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

type WireMethod<M extends GeneratedMethod, Response> = MethodDefinition<
  MessageOf<M['requestType']>,
  MessageOf<M['requestType']>,
  Response,
  MessageOf<M['responseType']>,
  M['requestStream'],
  M['responseStream']
>;

/** Of some methods, by name: what a handler answers with, as bytes. Copied before the next is asked for. */
export type Encoders = Readonly<Record<string, (response: never) => Uint8Array>>;

export type WireDefinition<D extends GeneratedDefinition, E extends Encoders> = {
  [M in keyof D['methods']]: WireMethod<
    D['methods'][M],
    M extends keyof E ? Parameters<E[M]>[0] : MessageOf<D['methods'][M]['responseType']>
  >;
};

/** Stands in the place of a request that could not be decoded; the fault middleware refuses it. */
export const undecodable: unknown = Object.freeze({ undecodable: true });

/**
 * A service of ts-proto for nice-grpc, with requests read strictly. Responses are what `encoders` take, or else whole
 * messages: they are encoded as they are, where nice-grpc alone would copy each through fromPartial first.
 */
export function wireDefinition<D extends GeneratedDefinition, E extends Encoders>(
  definition: D,
  encoders: E,
): WireDefinition<D, E> {
  const methods = Object.entries(definition.methods).map(([key, method]): [string, unknown] => {
    const { requestType, responseType } = method;
    const wireMethod: MethodDefinition<never, unknown, never, unknown> = {
      path: `/${definition.fullName}/${method.name}`,
      requestStream: method.requestStream,
      responseStream: method.responseStream,
      requestSerialize: (message) => requestType.encode(message).finish(),
      requestDeserialize: (bytes) => decodeStrictly(requestType, bytes),
      responseSerialize: keepingErrors(encoders[key] ?? ((message) => responseType.encode(message).finish())),
      responseDeserialize: (bytes) => responseType.decode(bytes),
      options: method.options,
    };
    return [key, wireMethod];
  });
  return Object.fromEntries(methods) as WireDefinition<D, E>;
}

// grpc-js drops what an encoder throws, and ends the call before it returns.
let encodingError: unknown;

function keepingErrors(encode: (message: never) => Uint8Array): (message: never) => Uint8Array {
  return (message) => {
    try {
      return encode(message);
    } catch (error) {
      encodingError = error;
      throw error;
    }
  };
}

/** Why the answer could not be encoded, for whoever is told just then that the call ends with INTERNAL. */
export function takeEncodingError(): unknown {
  const error = encodingError;
  encodingError = undefined;
  return error;
}

// ts-proto's own limit, and the property of the reader in which it counts.
const nestedMessagesDefault = 100;
// Three messages for each level of attributes: enough to say of 300 levels that they are too many, and a tenth of what
// the stack takes.
const nestedMessagesMax = 1000;

// proto3's strings are UTF-8; by default the reader makes U+FFFD of what is none, and nobody would know.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const decodeUtf8 = (bytes: Uint8Array): string => utf8.decode(bytes);

// Only of large messages, so that a small one costs nothing.
const largeBytes = 1024 * 1024;
const bytesOfLarge = new WeakMap<object, number>();

/** How many bytes a request had on the wire, where it had more than 1 MiB. */
export function bytesOf(request: object): number | undefined {
  return bytesOfLarge.get(request);
}

function decodeStrictly(type: MessageType, bytes: Uint8Array): unknown {
  const reader = new BinaryReader(bytes, decodeUtf8);
  Object.assign(reader, { __tsProtoDecodeDepth: nestedMessagesDefault - nestedMessagesMax });
  try {
    const message = type.decode(reader);
    if (bytes.length > largeBytes && typeof message === 'object' && message !== null) {
      bytesOfLarge.set(message, bytes.length);
    }
    return message;
  } catch {
    return undecodable;
  }
}
