/**
 * A server that answers GetUser with a constant user, over one of four stacks. It shows the cost of a call without
 * Roster's directory.
 *
 *     node dist/bench/echo-server.js roster|nice-grpc|grpc-js|http2
 */
import { createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import { createServer as createNiceServer } from 'nice-grpc';
import { GetUserRequest, GetUserResponse, UserServiceDefinition } from '../generated/users/v1/user_service.js';
import { createServer } from '../src/grpc-server/server.js';
import { userEmail, userId } from './load.js';

const answer = GetUserResponse.fromPartial({
  user: {
    id: userId(12_345),
    firstName: 'Ada',
    lastName: 'Lovelace',
    email: userEmail(12_345),
    profileImageUrl: 'https://img.example.com/12345.png',
    attributes: { department: 'ops', level: 3 },
    displayName: 'Ada Lovelace',
    createTime: new Date(),
    updateTime: new Date(),
    etag: 'AAAAAQ',
  },
});
const path = '/users.v1.UserService/GetUser';

const { name, fullName, methods } = UserServiceDefinition;
const definition = { name, fullName, methods: { getUser: methods.getUser } };
const implementation = { getUser: async ({ id }: GetUserRequest) => ({ user: answer.user && { ...answer.user, id } }) };

function startRoster(): Promise<number> {
  const server = createServer();
  server.add(definition, implementation);
  return server.listen('127.0.0.1:0');
}

function startNiceGrpc(): Promise<number> {
  const server = createNiceServer({ 'grpc.enable_channelz': 0 });
  server.add(definition, implementation);
  return server.listen('127.0.0.1:0');
}

function startGrpcJs(): Promise<number> {
  const server = new grpc.Server({ 'grpc.enable_channelz': 0 });
  const getUser: grpc.MethodDefinition<GetUserRequest, GetUserResponse> = {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: (message) => Buffer.from(GetUserRequest.encode(message).finish()),
    requestDeserialize: (bytes) => GetUserRequest.decode(bytes),
    responseSerialize: (message) => Buffer.from(GetUserResponse.encode(message).finish()),
    responseDeserialize: (bytes) => GetUserResponse.decode(bytes),
  };
  const handle: grpc.handleUnaryCall<GetUserRequest, GetUserResponse> = (_call, callback) => callback(null, answer);
  server.addService({ getUser }, { getUser: handle });
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
}

function startHttp2(): Promise<number> {
  const server = createHttp2Server();
  server.on('stream', (stream) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', () => {});
    stream.on('end', () => {
      GetUserRequest.decode(Buffer.concat(chunks).subarray(5));
      const message = GetUserResponse.encode(answer).finish();
      const framed = Buffer.alloc(5 + message.length);
      framed.writeUInt32BE(message.length, 1);
      framed.set(message, 5);
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(framed);
    });
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

const starts: Record<string, () => Promise<number>> = {
  roster: startRoster,
  'nice-grpc': startNiceGrpc,
  'grpc-js': startGrpcJs,
  http2: startHttp2,
};
const startEcho = starts[process.argv[2] ?? ''];
if (startEcho === undefined) throw new Error(`The argument must be one of ${Object.keys(starts).join(', ')}.`);
console.log(JSON.stringify({ msg: 'listening', address: `127.0.0.1:${await startEcho()}` }));
process.on('SIGTERM', () => process.exit());
