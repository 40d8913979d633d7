/** Traces and metrics over OTLP, which a collector of the test receives. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Metadata } from 'nice-grpc-common';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createClient } from '../../src/client/index.js';
import { parseGatewayConfig } from '../../src/config/parse.js';
import { startGateway } from '../../src/gateway/start-gateway.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type OtlpReceiver, type OtlpSpan, startOtlpReceiver } from '../support/otlp-receiver.js';
import { type Served, serve } from '../support/served.js';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

async function receive(): Promise<OtlpReceiver> {
  const receiver = await startOtlpReceiver();
  onTestFinished(() => receiver[Symbol.asyncDispose]());
  return receiver;
}

async function serveWith(settings: Record<string, string>): Promise<Served> {
  const service = await serve({ DATABASE_URL: database.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', ...settings });
  onTestFinished(() => {
    service.process.kill('SIGKILL');
  });
  return service;
}

/** A context as clients send it. */
function newContext() {
  const traceId = randomBytes(16).toString('hex');
  const spanId = randomBytes(8).toString('hex');
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-01` };
}

const service = 'users.v1.UserService';
const absentId = '0190b5a0-0000-7000-8000-000000000000';

function callsOf(spans: readonly OtlpSpan[], method: string): OtlpSpan[] {
  return spans.filter(({ name }) => name === `${service}/${method}`);
}

function textOf({ requests }: OtlpReceiver): string {
  return requests.map(({ body }) => body.toString()).join();
}

async function createUser(address: string): Promise<string> {
  using client = createClient({ address });
  const { user } = await client.createUser({
    user: { firstName: 'Ada', email: `${randomBytes(4).toString('hex')}@a.example` },
  });
  return user?.id ?? '';
}

function postJson(
  http: string,
  method: string,
  request: object,
  headers: Record<string, string> = {},
  signal?: AbortSignal,
) {
  return fetch(`${http}/${service}/${method}`, {
    method: 'POST',
    signal,
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(request),
  });
}

describe('traces over OTLP', () => {
  it('have a span of each call, of its wait and of the shared statement, with links, and no personal data', async () => {
    const receiver = await receive();
    const served = await serveWith({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url });
    using client = createClient({ address: served.address });
    const contexts = Array.from({ length: 40 }, newContext);
    await Promise.all(
      contexts.map(({ traceparent }, at) =>
        client.createUser(
          { user: { firstName: 'Grace', email: `grace${at}@example.com` } },
          { metadata: Metadata({ traceparent }) },
        ),
      ),
    );
    expect(await served.end('SIGTERM')).toBe(0);
    const spans = receiver.spans();
    const calls = callsOf(spans, 'CreateUser');
    expect(calls.map(({ traceId, parentSpanId }) => `${traceId} ${parentSpanId}`).toSorted()).toEqual(
      contexts.map(({ traceId, spanId }) => `${traceId} ${spanId}`).toSorted(),
    );
    for (const call of calls) {
      expect(call.attributes).toEqual({
        'rpc.system.name': 'grpc',
        'rpc.method': `${service}/CreateUser`,
        'rpc.response.status_code': 'OK',
      });
      expect(call).toMatchObject({ kind: 2, statusCode: 0 });
      const waits = spans.filter(({ name, parentSpanId }) => name === 'queue' && parentSpanId === call.spanId);
      expect(waits).toHaveLength(1);
      expect(waits[0]?.endMs).toBeLessThanOrEqual(call.endMs + 1);
    }
    const statements = spans.filter(({ name }) => name === 'INSERT users');
    expect(statements.length).toBeLessThan(contexts.length);
    expect(statements.flatMap(({ links }) => links.map(({ spanId }) => spanId)).toSorted()).toEqual(
      calls.map(({ spanId }) => spanId).toSorted(),
    );
    for (const { parentSpanId, links, attributes, kind, spanId } of statements) {
      expect(parentSpanId).toBe(links[0]?.spanId);
      expect(kind).toBe(3);
      expect(attributes).toMatchObject({ 'db.system.name': 'postgresql', 'db.operation.name': 'INSERT' });
      expect(attributes['db.operation.batch.size'] ?? 1).toBe(links.length);
      const linked = calls.filter((call) => call.links.some((link) => link.spanId === spanId));
      expect(linked).toHaveLength(links.length - 1);
    }
    const lines = served.lines.filter(({ msg }) => msg === 'call');
    expect(lines.map(({ traceId }) => traceId).toSorted()).toEqual(contexts.map(({ traceId }) => traceId).toSorted());
    expect(textOf(receiver)).not.toMatch(/grace|example\.com|127\.0\.0\.1/i);
  });

  it('mark the calls that fail through the server, and only those, without the text of the error', async () => {
    const receiver = await receive();
    const served = await serveWith({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, STATEMENT_TIMEOUT_MS: '300' });
    using client = createClient({ address: served.address, attemptsMax: 1 });
    const { user } = await client.createUser({ user: { firstName: 'Hedwig', email: 'hedwig@example.com' } });
    const id = user?.id ?? '';
    await client.getUser({ id: absentId }).catch(() => {});
    await client.createUser({ user: { firstName: 'Hedwig', email: 'not an email of Hedwig' } }).catch(() => {});
    // The call waits for this lock until its statement times out.
    await using _lock = await lockUser(id);
    await client.deleteUser({ id }).catch(() => {});
    await served.end('SIGTERM');
    const spans = receiver.spans();
    expect(callsOf(spans, 'GetUser')).toMatchObject([
      { statusCode: 0, attributes: { 'rpc.response.status_code': 'NOT_FOUND', 'roster.reason': 'USER_NOT_FOUND' } },
    ]);
    expect(callsOf(spans, 'CreateUser').map(({ statusCode }) => statusCode)).toEqual([0, 0]);
    expect(callsOf(spans, 'DeleteUser')).toMatchObject([
      {
        statusCode: 2,
        attributes: { 'rpc.response.status_code': 'DEADLINE_EXCEEDED', 'error.type': 'DEADLINE_EXCEEDED' },
      },
    ]);
    expect(textOf(receiver)).not.toMatch(/hedwig/i);
  });

  it('continue from HTTP through the gateway to the service of the same process', async () => {
    const receiver = await receive();
    const served = await serveWith({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url });
    const context = newContext();
    const headers = { traceparent: context.traceparent, tracestate: 'vendor=value' };
    await postJson(served.http, 'GetUser', { id: absentId }, headers);
    // connect-node serves this one.
    const get = new URLSearchParams({ connect: 'v1', encoding: 'json', message: JSON.stringify({ id: absentId }) });
    await fetch(`${served.http}/${service}/GetUser?${get}`, { headers });
    await served.end('SIGTERM');
    const spans = receiver.spans();
    const requests = spans.filter(({ attributes }) => 'http.request.method' in attributes);
    expect(requests.map(({ name }) => name).toSorted()).toEqual([
      `GET /${service}/GetUser`,
      `POST /${service}/GetUser`,
    ]);
    for (const request of requests) {
      expect(request).toMatchObject({ traceId: context.traceId, parentSpanId: context.spanId, kind: 2 });
      expect(request.attributes).toMatchObject({
        'http.route': `/${service}/GetUser`,
        'http.response.status_code': 404,
      });
    }
    const parents = callsOf(spans, 'GetUser').map(({ parentSpanId, traceId }) => ({ parentSpanId, traceId }));
    const expected = requests.map(({ spanId, traceId }) => ({ parentSpanId: spanId, traceId }));
    expect(new Set(parents.map(({ parentSpanId }) => parentSpanId))).toEqual(
      new Set(expected.map(({ parentSpanId }) => parentSpanId)),
    );
    expect(textOf(receiver)).not.toContain(absentId);
  });

  it('have no status if the client disconnects first, and do not continue an invalid context', async () => {
    const receiver = await receive();
    const served = await serveWith({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url });
    const id = await createUser(served.address);
    await using _lock = await lockUser(id);
    const disconnect = AbortSignal.timeout(200);
    const headers = { traceparent: 'not-a-context', tracestate: 'of-another-trace=1' };
    await expect(postJson(served.http, 'DeleteUser', { id }, headers, disconnect)).rejects.toThrow();
    await served.end('SIGTERM');
    const [request] = receiver.spans().filter(({ name }) => name === `POST /${service}/DeleteUser`);
    const [call] = callsOf(receiver.spans(), 'DeleteUser');
    expect(request?.attributes).not.toHaveProperty('http.response.status_code');
    expect(call).toMatchObject({ traceId: request?.traceId, parentSpanId: request?.spanId });
    expect(textOf(receiver)).not.toContain('of-another-trace');
  });

  it('continue through a standalone gateway to its target', async () => {
    const receiver = await receive();
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' };
    const served = await serveWith(env);
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    onTestFinished(() => void vi.unstubAllEnvs());
    const gateway = await startGateway(
      parseGatewayConfig({ ...env, HTTP_ADDRESS: 'localhost:0', TARGET: served.address, LOG_FORMAT: 'json' }),
      { logTo: { write() {} } },
    );
    await postJson(`http://localhost:${gateway.http.port}`, 'GetUser', { id: absentId });
    await gateway.close();
    await served.end('SIGTERM');
    const spans = receiver.spans();
    const [request] = spans.filter(({ name }) => name === `POST /${service}/GetUser`);
    const [call] = callsOf(spans, 'GetUser');
    expect(call).toMatchObject({ traceId: request?.traceId, parentSpanId: request?.spanId });
    expect(call?.instanceId).not.toBe(request?.instanceId);
  });

  it('have the status of a call that the gateway refused', async () => {
    const receiver = await receive();
    const served = await serveWith({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url });
    // In gRPC-Web, the HTTP status is 200. The message is shorter than its header says.
    const response = await fetch(`${served.http}/${service}/GetUser`, {
      method: 'POST',
      headers: { 'content-type': 'application/grpc-web+proto' },
      body: Buffer.from([0, 0, 0, 0, 9, 1]),
    });
    await response.bytes();
    await served.end('SIGTERM');
    expect(response.status).toBe(200);
    expect(receiver.spans()).toMatchObject([{ attributes: { 'rpc.response.status_code': 'INVALID_ARGUMENT' } }]);
  });

  it('obey the sampler, and pass the decision on in the context', async () => {
    const receiver = await receive();
    const served = await serveWith({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_TRACES_SAMPLER: 'parentbased_always_off',
    });
    const context = newContext();
    await postJson(served.http, 'GetUser', { id: absentId });
    await postJson(served.http, 'GetUser', { id: absentId }, { traceparent: context.traceparent });
    await served.end('SIGTERM');
    expect(new Set(receiver.spans().map(({ traceId }) => traceId))).toEqual(new Set([context.traceId]));
  });

  it('of all workers arrive, each with its own instance id', async () => {
    const receiver = await receive();
    const served = await serveWith({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_RESOURCE_ATTRIBUTES: 'service.instance.id=pod',
      WORKERS: '2',
    });
    using client = createClient({ address: Array.from({ length: 8 }, () => served.address) });
    let calls = 0;
    await vi.waitFor(
      async () => {
        for (let at = 0; at < 16; at++) await client.listUsers({ pageSize: 1 });
        calls += 16;
        const workers = served.lines.filter(({ msg }) => msg === 'call').map(({ worker }) => worker);
        expect(new Set(workers)).toEqual(new Set([1, 2]));
      },
      { timeout: 30_000 },
    );
    expect(await served.end('SIGTERM')).toBe(0);
    const lists = callsOf(receiver.spans(), 'ListUsers');
    expect(lists).toHaveLength(calls);
    expect(new Set(lists.map(({ instanceId }) => instanceId)).size).toBe(2);
    const counts = receiver.points('rpc.server.call.duration').filter(({ count }) => count !== undefined);
    expect(counts.reduce((sum, { count = 0 }) => sum + count, 0)).toBe(calls);
    // The parent has no calls, but metrics of its process.
    const instances = receiver.points('process_cpu_seconds_total').map(({ instanceId }) => instanceId);
    expect(new Set(instances)).toEqual(new Set(['pod', 'pod-1', 'pod-2']));
  });
});

describe('metrics over OTLP', () => {
  it('are those of /metrics, with the names of the conventions', async () => {
    const receiver = await receive();
    const served = await serveWith({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_TRACES_EXPORTER: 'none',
      OTEL_METRIC_EXPORT_INTERVAL: '100',
    });
    await postJson(served.http, 'GetUser', { id: absentId });
    await vi.waitFor(() => expect(receiver.points('rpc.server.call.duration')).not.toEqual([]), { timeout: 30_000 });
    const [point] = receiver.points('rpc.server.call.duration').slice(-1);
    expect(point).toMatchObject({ unit: 's', count: 1 });
    expect(point?.attributes).toEqual({
      'rpc.system.name': 'grpc',
      'rpc.method': `${service}/GetUser`,
      'rpc.response.status_code': 'NOT_FOUND',
    });
    expect(point?.bucketCounts).toHaveLength(13);
    expect(point?.bucketCounts.reduce((sum, count) => sum + Number(count), 0)).toBe(1);
    const text = await (await fetch(`${served.http}/metrics`)).text();
    const names = new Set([...text.matchAll(/^# TYPE (roster_\w+)/gm)].map(([, name = '']) => name));
    const series = [...names].filter((name) => new RegExp(`^${name}(?:_count)?[{ ]`, 'm').test(text));
    await vi.waitFor(() => expect(series.filter((name) => receiver.points(name).length === 0)).toEqual([]), {
      timeout: 30_000,
    });
    await served.end('SIGTERM');
    expect(receiver.spans()).toEqual([]);
  });
});

describe('the export over OTLP', () => {
  it('uses protobuf by default', async () => {
    const receiver = await receive();
    const served = await serveWith({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL: '' });
    await postJson(served.http, 'GetUser', { id: absentId });
    await served.end('SIGTERM');
    const traces = receiver.requests.filter(({ path }) => path === '/v1/traces');
    expect(traces.map(({ contentType }) => contentType)).toEqual(['application/x-protobuf']);
    expect(traces[0]?.body.includes(`POST /${service}/GetUser`)).toBe(true);
    // The first field of the message, with a length.
    expect(traces[0]?.body[0]).toBe(0x0a);
  });

  it('does not disturb calls or delay the shutdown if the collector is down, and warns once', async () => {
    const receiver = await startOtlpReceiver();
    await receiver[Symbol.asyncDispose]();
    const served = await serveWith({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_BSP_SCHEDULE_DELAY: '50',
      OTEL_METRIC_EXPORT_INTERVAL: '50',
      OTEL_EXPORTER_OTLP_TIMEOUT: '100',
    });
    for (let at = 0; at < 20; at++) expect((await postJson(served.http, 'GetUser', { id: absentId })).status).toBe(404);
    const warnings = () => served.lines.filter(({ msg }) => msg === 'could not export to the OpenTelemetry collector');
    await vi.waitFor(() => expect(warnings()).toHaveLength(1), { timeout: 30_000 });
    expect(await served.end('SIGTERM')).toBe(0);
    expect(warnings()).toHaveLength(1);
  });

  it('warns with the status of a collector that refuses, and without its text', async () => {
    const server = createServer((request, response) => {
      response.writeHead(401, `Bad ${request.headers.authorization}`).end();
    });
    server.listen(0, '127.0.0.1');
    onTestFinished(() => void server.close());
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const served = await serveWith({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=secret',
      OTEL_METRIC_EXPORT_INTERVAL: '50',
    });
    const warning = () => served.lines.find(({ msg }) => msg === 'could not export to the OpenTelemetry collector');
    await vi.waitFor(() => expect(warning()).toBeDefined(), { timeout: 30_000 });
    expect(warning()).toMatchObject({ error: { message: 'The collector answered with the HTTP status 401.' } });
    expect(JSON.stringify(warning())).not.toContain('secret');
    await served.end('SIGTERM');
  });

  it('loads OpenTelemetry only if it is on', () => {
    const source = (name: string) => readFileSync(`src/${name}`, 'utf8');
    const loading = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter(
      (name) => name.endsWith('.ts') && /^import (?!type )[^;]*from '@opentelemetry\//m.test(source(name)),
    );
    expect(loading.toSorted()).toEqual(['telemetry/otlp-metrics.ts', 'telemetry/otlp-spans.ts', 'telemetry/otlp.ts']);
    // The only other file that knows these imports the first of them when it is needed.
    expect(source('telemetry/start-otlp.ts')).toContain("await import('./otlp.js')");
    expect(source('telemetry/start-otlp.ts')).not.toMatch(/^import .*'\.\/otlp/m);
  });
});

/** Holds the lock of a user until it is disposed. */
async function lockUser(id: string): Promise<AsyncDisposable> {
  const { Client } = (await import('pg')).default;
  const client = new Client({ connectionString: database.url });
  await client.connect();
  await client.query('begin');
  await client.query('select from users where id = $1 for update', [id]);
  return { [Symbol.asyncDispose]: () => client.end() };
}
