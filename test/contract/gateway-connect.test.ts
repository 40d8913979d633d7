/**
 * The contract through the gateway in the Connect protocol: with JSON, with GET for calls without side effects, and
 * over HTTP/2.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { toBinary } from '@bufbuild/protobuf';
import type { Transport } from '@connectrpc/connect';
import { createConnectTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { afterAll, beforeAll } from 'vitest';
import { createAuthority } from '../certificates.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { createGatewayClient, registry } from '../support/gateway-client.js';
import { describeStreams } from './streams.js';
import { describeContract } from './suite.js';

const authority = createAuthority();
const folder = mkdtempSync(path.join(tmpdir(), 'roster-certificates-'));

let app: TestApp;
let secureApp: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  const { cert, key } = authority.issue('localhost');
  const tls = { TLS_CERT: path.join(folder, 'cert.pem'), TLS_KEY: path.join(folder, 'key.pem') };
  writeFileSync(tls.TLS_CERT, cert);
  writeFileSync(tls.TLS_KEY, key);
  secureApp = await startTestApp(tls, { tls: { ca: authority.cert } });
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await secureApp[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const asJson = createGatewayClient(() =>
  createConnectTransport({
    baseUrl: app.http,
    httpVersion: '1.1',
    useBinaryFormat: false,
    jsonOptions: { registry },
  }),
);
describeContract('Connect with JSON', () => asJson);
describeStreams('Connect with JSON', () => asJson, { requests: true, both: false });

const byGet = createGatewayClient(() => {
  const options = { baseUrl: app.http, httpVersion: '1.1' } as const;
  const [get, post] = [createConnectTransport({ ...options, useHttpGet: true }), createConnectTransport(options)];
  const unary: Transport['unary'] = (method, signal, timeoutMs, header, request, values) => {
    // A URL has no room for a thousand ids.
    const fits = toBinary(method.input, request as never).length < 2000;
    return (fits ? get : post).unary(method, signal, timeoutMs, header, request, values);
  };
  return { ...get, unary };
});
describeContract('Connect with GET', () => byGet);

const overHttp2 = createGatewayClient(() => {
  const baseUrl = secureApp.http.replace('http:', 'https:');
  const sessionManager = new Http2SessionManager(baseUrl, {}, { ca: authority.cert });
  return createConnectTransport({ baseUrl, httpVersion: '2', sessionManager });
});
describeContract('Connect over HTTP/2', () => overHttp2);
describeStreams('Connect over HTTP/2', () => overHttp2, { requests: true, both: true });
