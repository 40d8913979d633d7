/** The contract through the gateway in gRPC-Web, with a program's client and with nice-grpc-web, which browsers can use. */
import { createGrpcWebTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.js';
import { type CallingClient, createGatewayClient, createWebClient } from '../support/gateway-client.js';
import { describeStreams } from './streams.js';
import { describeContract } from './suite.js';

let app: TestApp;
let ofBrowser: CallingClient;
beforeAll(async () => {
  app = await startTestApp();
  ofBrowser = createWebClient(app.http);
});
afterAll(() => app[Symbol.asyncDispose]());

const ofProgram = createGatewayClient(() => createGrpcWebTransport({ baseUrl: app.http, httpVersion: '1.1' }));
describeContract('gRPC-Web', () => ofProgram);
describeStreams('gRPC-Web', () => ofProgram, { requests: true, both: false });
describeContract('nice-grpc-web', () => ofBrowser);
describeStreams('nice-grpc-web', () => ofBrowser, { requests: false, both: false });

describe('the log', () => {
  it('names the peer of every call as over gRPC, and has no personal data', () => {
    const calls = app.lines.filter(({ msg }) => msg === 'call');
    expect(calls.length).toBeGreaterThan(100);
    for (const { peer } of calls) expect(peer).toMatch(/^(?:127\.0\.0\.1|::1)$/);
    expect(JSON.stringify(app.lines)).not.toMatch(/ada\.|lovelace|@|🦊/i);
    expect(app.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });
});
