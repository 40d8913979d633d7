/**
 * Calls users.v1 through the gateway with the interface and the errors of the typed client, so that the client's test suite
 * also runs here. It converts ts-proto's messages to the format of the transport, does not retry, and adds no metadata.
 */
import { readFileSync } from 'node:fs';
import { createFileRegistry, type DescMethod, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { ConnectError, type Transport } from '@connectrpc/connect';
import {
  BadRequest,
  ErrorInfo,
  errorDetailsClientMiddleware,
  RequestInfo,
  RichClientError,
} from 'nice-grpc-error-details';
import {
  ClientError,
  type ClientMiddleware,
  createChannel,
  createClientFactory,
  NodeHttpTransport,
} from 'nice-grpc-web';
import { type UserServiceClient, UserServiceDefinition } from '../../generated/users/v1/user_service.js';
import type { Client } from '../../src/client/index.js';
import { toRosterError } from '../../src/client/roster-error.js';

/** The part of the client that every transport supports. */
export type CallingClient = Pick<Client, keyof UserServiceClient | 'listAllUsers'>;

const descriptors = readFileSync(new URL('../../generated/descriptors.binpb', import.meta.url));
export const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));

/** Uses any transport of connect-node. Creates it on the first call because the gateway's address is known only then. */
export function createGatewayClient(createTransport: () => Transport): CallingClient {
  let made: Transport | undefined;
  const transport = () => {
    made ??= createTransport();
    return made;
  };
  const service = registry.getService(UserServiceDefinition.fullName);
  const methods = Object.entries(UserServiceDefinition.methods).map(([name, definition]) => {
    const method = service?.methods.find((each) => each.name === definition.name);
    if (method === undefined) throw new Error(`The descriptors do not contain ${definition.name}.`);
    return [name, createMethod(transport, method, definition as unknown as Definition)];
  });
  return withAllPages(Object.fromEntries(methods) as UserServiceClient);
}

/** Uses gRPC-Web with nice-grpc-web. */
export function createWebClient(address: string): CallingClient {
  const rosterErrors: ClientMiddleware = async function* (call, options) {
    try {
      return yield* call.next(call.request, options);
    } catch (error) {
      throw error instanceof ClientError ? toRosterError(error, undefined) : error;
    }
  };
  const client: UserServiceClient = createClientFactory()
    .use(errorDetailsClientMiddleware)
    .use(rosterErrors)
    .create(UserServiceDefinition, createChannel(address, NodeHttpTransport()));
  return withAllPages(client);
}

function withAllPages(client: UserServiceClient): CallingClient {
  return {
    ...client,
    async *listAllUsers(request = {}, options) {
      let pageToken = '';
      do {
        const page = await client.listUsers({ ...request, pageToken }, options);
        yield* page.users;
        pageToken = page.nextPageToken;
      } while (pageToken !== '');
    },
  };
}

/** The part of a ts-proto definition that is the same for all methods. */
interface Definition {
  readonly requestType: { fromPartial(value: unknown): unknown; encode(value: unknown): { finish(): Uint8Array } };
  readonly responseType: { decode(bytes: Uint8Array): unknown };
}

interface Options {
  readonly signal?: AbortSignal;
}

function createMethod(transport: () => Transport, method: DescMethod, { requestType, responseType }: Definition) {
  const write = (value: unknown): Message =>
    fromBinary(method.input, requestType.encode(requestType.fromPartial(value)).finish());
  const read = (message: Message): unknown => responseType.decode(toBinary(method.output, message));

  async function unary(request: unknown, { signal }: Options = {}) {
    const response = await transport().unary(method as never, signal, undefined, undefined, write(request) as never);
    return read(response.message);
  }
  async function* streaming(requests: AsyncIterable<unknown>, { signal }: Options = {}) {
    const messages = mapAsync(requests, write) as AsyncIterable<never>;
    const response = await transport().stream(method as never, signal, undefined, undefined, messages);
    yield* mapAsync(response.message, read);
  }
  async function single(responses: AsyncIterable<unknown>) {
    for await (const response of responses) return response;
    throw new Error('The call returned no response.');
  }
  async function* alone(request: unknown) {
    yield request;
  }

  const path = `/${method.parent.typeName}/${method.name}`;
  const failing = async <T>(answer: Promise<T>) =>
    answer.catch((error: unknown) => Promise.reject(errorOf(error, path)));
  async function* failingStream(responses: AsyncIterable<unknown>) {
    try {
      yield* responses;
    } catch (error) {
      throw errorOf(error, path);
    }
  }
  const kinds = {
    unary: (request: unknown, options?: Options) => failing(unary(request, options)),
    client_streaming: (requests: AsyncIterable<unknown>, options?: Options) =>
      failing(single(streaming(requests, options))),
    server_streaming: (request: unknown, options?: Options) => failingStream(streaming(alone(request), options)),
    bidi_streaming: (requests: AsyncIterable<unknown>, options?: Options) =>
      failingStream(streaming(requests, options)),
  };
  return kinds[method.methodKind];
}

async function* mapAsync<From, To>(source: AsyncIterable<From>, map: (value: From) => To): AsyncGenerator<To> {
  for await (const value of source) yield map(value);
}

/** Converts an error to that of the typed client. Connect's codes are gRPC's numbers. */
function errorOf(error: unknown, path: string): unknown {
  if (!(error instanceof ConnectError)) return error;
  const extra = error.details.flatMap((detail) => ('desc' in detail ? [] : decodeDetail(detail.type, detail.value)));
  return toRosterError(new RichClientError(path, error.code as number, error.rawMessage, extra), undefined);
}

/** Returns an empty list for an unknown type. */
function decodeDetail(type: string, bytes: Uint8Array) {
  return [BadRequest, ErrorInfo, RequestInfo].filter(({ $type }) => $type === type).map((known) => known.decode(bytes));
}
