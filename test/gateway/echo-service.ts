/**
 * A gRPC service, on bare grpc-js or on the server of this process, and a gateway that forwards to it. The service is
 * not Roster's, because the gateway works for any service. Each test defines its methods.
 */
import { connect, type Socket } from 'node:net';
import { brotliCompressSync, constants } from 'node:zlib';
import {
  create,
  createFileRegistry,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { BinaryWriter } from '@bufbuild/protobuf/wire';
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorSetSchema,
  MethodOptions_IdempotencyLevel,
} from '@bufbuild/protobuf/wkt';
import {
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { CallContext } from 'nice-grpc-common';
import { onTestFinished } from 'vitest';
import { createGateway, type Gateway } from '../../src/gateway/gateway.js';
import { type HttpOptions, startHttp } from '../../src/gateway/http.js';
import { allEndpoints } from '../../src/gateway/router.js';
import { noFiles } from '../../src/gateway/web-files.js';
import { createByteBudget } from '../../src/grpc-server/byte-budget.js';
import { createServer as createGrpcServer, type GrpcServer, type ServerOptions } from '../../src/grpc-server/server.js';
import type { CallLine } from '../../src/telemetry/log.js';

/** The only message of the service. */
export interface Note {
  text: string;
  data: Uint8Array;
}

const note = '.echo.Note';
const idempotencyLevel = MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
const field = (name: string, number: number, type: FieldDescriptorProto_Type) => ({
  ...{ name, number, type, jsonName: name },
  label: FieldDescriptorProto_Label.OPTIONAL,
});
const method = (name: string) => ({ name, inputType: note, outputType: note });

export const descriptors = toBinary(
  FileDescriptorSetSchema,
  create(FileDescriptorSetSchema, {
    file: [
      {
        name: 'echo.proto',
        package: 'echo',
        syntax: 'proto3',
        messageType: [
          {
            name: 'Note',
            field: [
              field('text', 1, FieldDescriptorProto_Type.STRING),
              field('data', 2, FieldDescriptorProto_Type.BYTES),
            ],
          },
        ],
        service: [
          {
            name: 'Echo',
            method: [
              method('Say'),
              { ...method('Read'), options: { idempotencyLevel } },
              { ...method('Tell'), serverStreaming: true },
              { ...method('Gather'), clientStreaming: true },
              { ...method('Chat'), clientStreaming: true, serverStreaming: true },
            ],
          },
        ],
      },
    ],
  }),
);

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));
export const echo = registry.getService('echo.Echo') as NonNullable<ReturnType<typeof registry.getService>>;
export const noteSchema = registry.getMessage('echo.Note') as DescMessage;

export function encodeNote(value: Partial<Note>): Uint8Array {
  return toBinary(noteSchema, create(noteSchema, value as MessageInitShape<DescMessage>));
}

export function decodeNote(bytes: Uint8Array): Note {
  const message: MessageShape<DescMessage> = fromBinary(noteSchema, bytes);
  return message as unknown as Note;
}

export interface EchoMethods {
  Say?: handleUnaryCall<Note, Partial<Note>>;
  Read?: handleUnaryCall<Note, Partial<Note>>;
  Tell?: handleServerStreamingCall<Note, Partial<Note>>;
  Gather?: handleClientStreamingCall<Note, Partial<Note>>;
  Chat?: handleBidiStreamingCall<Note, Partial<Note>>;
}

export interface EchoServer {
  readonly port: number;
  stop(): void;
}

const definition = Object.fromEntries(
  echo.methods.map(({ name, methodKind }) => [
    name,
    {
      path: `/echo.Echo/${name}`,
      requestStream: methodKind === 'client_streaming' || methodKind === 'bidi_streaming',
      responseStream: methodKind === 'server_streaming' || methodKind === 'bidi_streaming',
      requestSerialize: (value: Note) => Buffer.from(encodeNote(value)),
      requestDeserialize: decodeNote,
      responseSerialize: (value: Note) => Buffer.from(encodeNote(value)),
      responseDeserialize: decodeNote,
      options: {},
    },
  ]),
);

type Notes = AsyncIterable<Note>;

/** The methods for nice-grpc's interface. */
export interface OwnEchoMethods {
  Say?(note: Note, context: CallContext): Promise<Partial<Note>>;
  Read?(note: Note, context: CallContext): Promise<Partial<Note>>;
  Tell?(note: Note, context: CallContext): AsyncIterable<Partial<Note>>;
  Gather?(notes: Notes, context: CallContext): Promise<Partial<Note>>;
  Chat?(notes: Notes, context: CallContext): AsyncIterable<Partial<Note>>;
}

/** Starts the service on a gRPC server that does not listen. */
export function startOwnEcho(methods: OwnEchoMethods, options?: ServerOptions): GrpcServer {
  const server = createGrpcServer(options);
  const missing = () => {
    throw new TypeError('The test does not define this method.');
  };
  const all = Object.fromEntries(echo.methods.map(({ name }) => [name, missing]));
  server.add(definition, { ...all, ...methods } as never);
  onTestFinished(() => server.forceShutdown());
  return server;
}

/** Uses Roster's limit for messages. `stop` breaks open connections. */
export async function startEcho(methods: EchoMethods, port = 0): Promise<EchoServer> {
  // forceShutdown() works only with channelz, which is on by default.
  const server = new Server({ 'grpc.max_receive_message_length': 4 * 1024 * 1024 });
  server.addService(definition, methods as UntypedServiceImplementation);
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, picked) =>
      error === null ? resolve(picked) : reject(error),
    );
  });
  const stop = () => server.forceShutdown();
  onTestFinished(stop);
  return { port: bound, stop };
}

export interface EchoGateway {
  /** Such as `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly port: number;
  readonly gateway: Gateway;
  /** Errors that the gateway reported as its own. */
  readonly errors: readonly unknown[];
  /** Log lines of calls that the gateway answered itself. */
  readonly lines: readonly CallLine[];
  /** All connections that the gateway opened to the server. */
  readonly connections: readonly Socket[];
  close(): Promise<void>;
}

export interface EchoOptions extends Partial<HttpOptions> {
  readonly stallTimeoutMs?: number;
  readonly bufferedBytesMax?: number;
}

export async function startEchoGateway(
  target: { readonly port: number } | Pick<GrpcServer, 'call'>,
  { stallTimeoutMs = 600_000, bufferedBytesMax = Number.POSITIVE_INFINITY, ...options }: EchoOptions = {},
): Promise<EchoGateway> {
  const errors: unknown[] = [];
  const connections: Socket[] = [];
  const onError = (error: unknown) => void errors.push(error);
  const networkTarget = (port: number) => ({
    url: `http://127.0.0.1:${port}`,
    session: {
      createConnection() {
        const socket = connect(port, '127.0.0.1');
        connections.push(socket);
        return socket;
      },
    },
  });
  const lines: CallLine[] = [];
  const budget = createByteBudget(bufferedBytesMax);
  const onUnforwarded = (line: CallLine) => void lines.push(line);
  const gateway = createGateway({
    ...('port' in target ? networkTarget(target.port) : { call: target.call }),
    ...{ descriptors, stallTimeoutMs, budget, onUnforwarded, onError },
  });
  const http = await startHttp({
    address: { host: '127.0.0.1', port: 0 },
    corsOrigins: [],
    openEndpoints: allEndpoints,
    metrics: { contentType: 'text/plain', text: async () => '' },
    serving: () => 'all',
    onError,
    ...options,
  });
  http.serve({ gateway, files: noFiles });
  const close = async () => {
    gateway.close();
    await http.close();
  };
  onTestFinished(close);
  const scheme = options.tls === undefined ? 'http' : 'https';
  return { url: `${scheme}://127.0.0.1:${http.port}`, port: http.port, gateway, errors, lines, connections, close };
}

/** A message with its five-byte header, as in gRPC-Web and Connect streams. */
export function enveloped(bytes: Uint8Array, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flags);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** The messages of such a body, and its trailer or end message. */
export function unenveloped(body: Uint8Array): { messages: Note[]; end: string } {
  const bytes = Buffer.from(body);
  const messages: Note[] = [];
  let end = '';
  for (let at = 0; at + 5 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at + 1);
    const part = bytes.subarray(at + 5, at + 5 + length);
    if (((bytes[at] ?? 0) & 0x82) === 0) messages.push(decodeNote(part));
    else end = part.toString();
    at += 5 + length;
  }
  return { messages, end };
}

/** A google.rpc.Status. */
export function statusDetails(code: number, message: string, details: { type: string; value: Uint8Array }[]): Buffer {
  const writer = new BinaryWriter().uint32(8).int32(code).uint32(18).string(message);
  for (const { type, value } of details) {
    writer.uint32(26).fork().uint32(10).string(`type.googleapis.com/${type}`).uint32(18).bytes(value).join();
  }
  return Buffer.from(writer.finish());
}

/** Compresses with brotli at its fastest: the default takes minutes for large bodies on a busy machine. */
export function fastBrotli(bytes: string | Uint8Array): Buffer {
  return brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } });
}
