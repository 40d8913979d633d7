/**
 * Calls over HTTP/1.1 for a load, as a browser or curl makes them: gRPC-Web, Connect with binary messages, Connect with JSON.
 *
 * It has the interface of a gRPC connection: answers have gRPC's five-byte prefix before the message.
 */
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { createFileRegistry, fromBinary, fromJson, toBinary, toJson } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { packageRoot } from '../src/config/package-root.js';
import type { GrpcConnection } from './grpc-connection.js';

export type WebProtocol = 'gRPC-Web' | 'Connect' | 'JSON';

const contentTypes: Readonly<Record<WebProtocol, string>> = {
  'gRPC-Web': 'application/grpc-web+proto',
  Connect: 'application/proto',
  JSON: 'application/json',
};

const statusInternal = 13;
const prefixBytes = 5;

/** Calls one method of one server. Each call in flight has its own connection because HTTP/1.1 requires it. */
export function openHttpConnection(
  address: string,
  path: string,
  protocol: WebProtocol,
  headers: Readonly<Record<string, string>>,
): GrpcConnection {
  const agent = new Agent({ keepAlive: true });
  const { encode, decode } = codecOf(path, protocol);
  const options = { agent, method: 'POST', headers: { ...headers, 'content-type': contentTypes[protocol] } };
  return {
    lost: 0,
    call(message, { onData, onEnd }) {
      const sent = request(`http://${address}${path}`, options, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const { answer, status } = decode(Buffer.concat(chunks), response.statusCode === 200);
          if (answer !== undefined) onData(answer);
          onEnd(status);
        });
      });
      sent.on('error', () => onEnd(statusInternal));
      sent.end(encode(message));
      return () => sent.destroy();
    },
  };
}

interface Codec {
  encode(message: Uint8Array): Uint8Array | string;
  decode(body: Buffer, isOk: boolean): { answer?: Buffer; status: number };
}

function codecOf(path: string, protocol: WebProtocol): Codec {
  if (protocol === 'gRPC-Web') return { encode: framed, decode: decodeWeb };
  if (protocol === 'Connect') {
    return {
      encode: (message) => message,
      decode: (body, isOk) => (isOk ? { answer: framed(body), status: 0 } : { status: statusInternal }),
    };
  }
  const descriptors = readFileSync(join(packageRoot(), 'generated', 'descriptors.binpb'));
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptors));
  const [, serviceName = '', methodName = ''] = path.split('/');
  const method = registry.getService(serviceName)?.methods.find(({ name }) => name === methodName);
  if (method === undefined) throw new Error(`The contract has no method ${path}.`);
  return {
    encode: (message) => JSON.stringify(toJson(method.input, fromBinary(method.input, message))),
    decode: (body, isOk) =>
      isOk
        ? { answer: framed(toBinary(method.output, fromJson(method.output, JSON.parse(body.toString())))), status: 0 }
        : { status: statusInternal },
  };
}

function framed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(prefixBytes);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

/** A frame with the message, and one with the trailers. */
function decodeWeb(body: Buffer): { answer?: Buffer; status: number } {
  const end = body.length < prefixBytes ? 0 : prefixBytes + body.readUInt32BE(1);
  const status = /grpc-status: ?(\d+)/.exec(body.toString('latin1', end))?.[1];
  return { answer: body.subarray(0, end), status: status === undefined ? statusInternal : Number(status) };
}
