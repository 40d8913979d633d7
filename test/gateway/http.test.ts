/** Metrics and probes over HTTP, of one process and of several. */
import { once } from 'node:events';
import { connect } from 'node:http2';
import { get } from 'node:https';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createClient } from '../../src/client/index.js';
import { startHttp } from '../../src/gateway/http.js';
import { allEndpoints } from '../../src/gateway/router.js';
import { createAuthority } from '../certificates.js';
import { startTestApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { expectStartFailure, type Served, serve } from '../support/served.js';

/** Longer than the slowest machine needs. */
const waitOptions = { timeout: 30_000 };

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

async function serveHere(settings: Record<string, string> = {}): Promise<Served> {
  const service = await serve({ DATABASE_URL: database.url, ...settings });
  onTestFinished(async () => {
    if (service.process.exitCode === null && service.process.signalCode === null) await service.end('SIGTERM');
  });
  return service;
}

/** The value of a series, or 0 if it is missing. */
async function metricValue(url: string, series: string, options?: RequestInit): Promise<number> {
  const lines = (await (await fetch(`${url}/metrics`, options)).text()).split('\n');
  return Number(lines.find((line) => line.startsWith(`${series} `))?.slice(series.length) ?? 0);
}

/** Metrics of a worker that does not answer in time are those of the previous scrape. */
async function waitForMetric(url: string, series: string, value: number): Promise<void> {
  await vi.waitFor(async () => expect(await metricValue(url, series)).toBe(value), waitOptions);
}

function callsSeries(method: string, status: string): string {
  const labels = `rpc_system_name="grpc",rpc_method="${method}",rpc_response_status_code="${status}"`;
  return `rpc_server_call_duration_seconds_count{${labels}}`;
}

const lists = callsSeries('users.v1.UserService/ListUsers', 'OK');

async function listTimes(service: Served, times: number): Promise<void> {
  using client = createClient({ address: Array.from({ length: 4 }, () => service.address) });
  for (let count = 0; count < times; count++) await client.listUsers({ pageSize: 1 });
}

describe('/metrics', () => {
  it('has the calls, statements, imports and watchers of a process, and no personal data', async () => {
    await using app = await startTestApp();
    await app.client.createUser({ user: { firstName: 'Ada', email: 'ada@example.com' } });
    await app.client.getUser({ id: '0190b5a0-0000-7000-8000-000000000000' }).catch(() => {});
    await app.client.importAllUsers([{ firstName: 'Grace', email: 'grace@example.com' }]);
    const stop = new AbortController();
    const watch = app.client.followUsers({ signal: stop.signal })[Symbol.asyncIterator]().next();
    await waitForMetric(app.http, callsSeries('users.v1.UserService/CreateUser', 'OK'), 1);
    await waitForMetric(app.http, callsSeries('users.v1.UserService/GetUser', 'NOT_FOUND'), 1);
    await waitForMetric(app.http, 'roster_batch_rows_count{statement="create"}', 1);
    await waitForMetric(app.http, 'roster_imported_rows_total{outcome="created"}', 1);
    // A scrape also reads the state of indexes, in the background.
    const idle = 'roster_pool_connections{state="idle"}';
    await vi.waitFor(async () => expect(await metricValue(app.http, idle)).toBeGreaterThan(0), waitOptions);
    await waitForMetric(app.http, 'roster_watchers', 1);
    await waitForMetric(app.http, 'roster_calls_in_flight{rpc_method="users.v1.UserService/WatchUsers"}', 1);
    await waitForMetric(app.http, 'roster_database_up', 1);
    await waitForMetric(app.http, 'roster_statement_duration_seconds_count{statement="create"}', 1);
    await waitForMetric(app.http, 'roster_table_rows{table="users"}', 2);
    const changeLog = 'roster_table_size_bytes{table="changes"}';
    await vi.waitFor(async () => expect(await metricValue(app.http, changeLog)).toBeGreaterThan(0), waitOptions);
    const response = await fetch(`${app.http}/metrics`);
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await response.text()).not.toMatch(/ada|grace|example/i);
    stop.abort();
    await watch.catch(() => {});
    await waitForMetric(app.http, 'roster_watchers', 0);
  });

  it('counts calls of methods that do not exist as _OTHER', async () => {
    const service = await serveHere();
    const session = connect(`http://${service.address}`);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/any.Service/AtAll',
      'content-type': 'application/grpc',
    });
    stream.resume();
    await once(stream, 'close');
    session.close();
    const unknown = callsSeries('_OTHER', 'UNIMPLEMENTED').replace('}', ',error_type="UNIMPLEMENTED"}');
    await waitForMetric(service.http, unknown, 1);
  });

  it('adds up all workers, and keeps the counters of workers that hang, were restarted or were killed', async () => {
    const service = await serveHere({ WORKERS: '2' });
    await waitForMetric(service.http, 'roster_processes', 3);
    // On a slow machine, all calls may use the first connection.
    let calls = 0;
    await vi.waitFor(async () => {
      await listTimes(service, 8);
      calls += 8;
      const workers = service.lines.filter(({ msg }) => msg === 'call').map(({ worker }) => worker);
      expect(new Set(workers)).toEqual(new Set([1, 2]));
    }, waitOptions);
    await waitForMetric(service.http, lists, calls);

    service.process.kill('SIGHUP');
    await vi.waitFor(
      () => expect(service.lines).toContainEqual(expect.objectContaining({ msg: 'restarted the workers' })),
      waitOptions,
    );
    await waitForMetric(service.http, lists, calls);
    await listTimes(service, 8);
    calls += 8;
    await waitForMetric(service.http, lists, calls);

    const served = service.lines.filter(({ msg }) => msg === 'a worker is serving');
    const pid = Number(served.at(-1)?.pid);
    // A worker that hangs delays the metrics. If that worker got the request itself, the test repeats it.
    process.kill(pid, 'SIGSTOP');
    await vi.waitFor(async () => {
      expect(await metricValue(service.http, lists, { signal: AbortSignal.timeout(3000) })).toBe(calls);
    }, waitOptions);
    process.kill(pid, 'SIGKILL');
    await vi.waitFor(
      () => expect(service.lines.filter(({ msg }) => msg === 'a worker is serving')).toHaveLength(served.length + 1),
      waitOptions,
    );
    await waitForMetric(service.http, lists, calls);
    await waitForMetric(service.http, 'roster_processes', 3);
  });
});

describe('/healthz and /readyz', () => {
  it.each(['1', '2'])('report that the server serves and then that it closes, with %s workers', async (WORKERS) => {
    const service = await serveHere({ WORKERS, SHUTDOWN_DELAY_MS: '600000' });
    const status = async (path: string) => (await fetch(service.http + path)).status;
    expect(await status('/healthz')).toBe(200);
    expect(await status('/readyz')).toBe(200);
    service.process.kill('SIGTERM');
    await vi.waitFor(async () => expect(await status('/readyz')).toBe(503), waitOptions);
    expect(await status('/healthz')).toBe(200);
    await service.end('SIGTERM');
  });

  it('are answered while the server starts', async () => {
    const free = createServer().listen(0, '127.0.0.1');
    await once(free, 'listening');
    const { port } = free.address() as AddressInfo;
    free.close();
    await using own = await createTestDatabase();
    // Accepts connections and does not answer, like a database that starts slowly.
    const sockets: Socket[] = [];
    const silent = createServer((socket) => void sockets.push(socket)).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const url = Object.assign(new URL(own.url), { host: `127.0.0.1:${(silent.address() as AddressInfo).port}` });
    const stop = new AbortController();
    const settings = { DATABASE_CONNECT_TIMEOUT_MS: '600000', HTTP_ADDRESS: `127.0.0.1:${port}` };
    const starting = expectStartFailure({ DATABASE_URL: url.href, ...settings }, stop.signal);
    await vi.waitFor(
      async () => expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(503),
      waitOptions,
    );
    expect((await fetch(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
    silent.close();
    for (const socket of sockets) socket.destroy();
    stop.abort();
    expect((await starting).code).toBe(143);
  });
});

describe('HTTP_ADDRESS', () => {
  it.each(['1', '2'])('that is in use is an error if it was set, with %s workers', async (WORKERS) => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    onTestFinished(() => void taken.close());
    const address = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
    const settings = { DATABASE_URL: database.url, LOG_LEVEL: 'silent', HTTP_ADDRESS: address, WORKERS };
    const { code, errors } = await expectStartFailure(settings);
    expect(code).toBe(1);
    expect(errors).toMatch(/^error: .*\n$/);
    expect(errors).toContain(`Cannot listen on ${address}: another process, perhaps another Roster, uses the port.`);
  });

  it.each(['1', '2'])('that is in use causes only a warning if it is the default, with %s workers', async (WORKERS) => {
    // If this fails, another process uses the port.
    const taken = createServer().listen(8080, '127.0.0.1');
    taken.on('error', () => {});
    onTestFinished(() => void taken.close());
    const service = await serveHere({ HTTP_ADDRESS: '', WORKERS });
    expect(service.http).toBe('');
    expect(service.lines).toContainEqual(
      expect.objectContaining({
        level: 'warn',
        address: 'localhost:8080',
        msg: expect.stringContaining('set HTTP_ADDRESS'),
      }),
    );
    await listTimes(service, 1);
  });
});

describe('the server', () => {
  const metrics = { contentType: 'text/plain', text: async () => 'metrics\n' };

  it('answers only GET and HEAD of known paths', async () => {
    const errors: unknown[] = [];
    const failing = { ...metrics, text: () => Promise.reject(new Error('of ada@example.com')) };
    const server = await startHttp({
      corsOrigins: [],
      openEndpoints: allEndpoints,
      address: { host: 'localhost', port: 0 },
      metrics: failing,
      serving: () => 'nothing',
      onError: (error) => errors.push(error),
    });
    onTestFinished(() => server.close());
    for (const host of ['127.0.0.1', '[::1]']) {
      const url = `http://${host}:${server.port}`;
      expect(await (await fetch(`${url}/healthz?full`)).text()).toBe('running\n');
      const head = await fetch(`${url}/readyz`, { method: 'HEAD' });
      expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([503, '12', '']);
      for (const path of ['/', '/healthz/', '/constructor', '//metrics']) {
        const early = await fetch(url + path);
        expect([early.status, await early.text()]).toEqual([503, 'not serving yet\n']);
      }
      const posted = await fetch(`${url}/healthz`, { method: 'POST', body: 'x' });
      expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
      const failed = await fetch(`${url}/metrics`);
      expect([failed.status, await failed.text()]).toEqual([500, 'an internal error\n']);
    }
    expect(errors).toHaveLength(2);
  });

  it('serves TLS with HTTP/1.1 and HTTP/2 if it has a certificate', async () => {
    const authority = createAuthority();
    const { cert, key } = authority.issue('localhost');
    const server = await startHttp({
      corsOrigins: [],
      openEndpoints: allEndpoints,
      address: { host: '127.0.0.1', port: 0 },
      tls: { cert: Buffer.from(cert), key: Buffer.from(key) },
      metrics,
      serving: () => 'all',
      onError: () => {},
    });
    onTestFinished(() => server.close());
    const options = { ca: authority.cert, servername: 'localhost', agent: false } as const;
    const [response] = await once(get(`https://127.0.0.1:${server.port}/metrics`, options), 'response');
    expect(await text(response)).toBe('metrics\n');
    const session = connect(`https://127.0.0.1:${server.port}`, options);
    const stream = session.request({ ':path': '/metrics' });
    expect(await text(stream)).toBe('metrics\n');
    session.close();
  });

  it('with a client authority answers only clients with a certificate', async () => {
    const authority = createAuthority();
    const { cert, key } = authority.issue('localhost');
    const tls = { cert: Buffer.from(cert), key: Buffer.from(key), clientCa: Buffer.from(authority.cert) };
    const address = { host: '127.0.0.1', port: 0 };
    const server = await startHttp({
      corsOrigins: [],
      openEndpoints: allEndpoints,
      address,
      tls,
      metrics,
      serving: () => 'all',
      onError: () => {},
    });
    onTestFinished(() => server.close());
    const send = (own: { cert?: string; key?: string }) =>
      new Promise<number | undefined>((resolve, reject) => {
        const options = { ca: authority.cert, servername: 'localhost', agent: false, ...own } as const;
        get(`https://127.0.0.1:${server.port}/metrics`, options, (response) => {
          response.resume();
          resolve(response.statusCode);
        }).once('error', reject);
      });
    expect(await send({ cert, key })).toBe(200);
    await expect(send({})).rejects.toThrow();
  });
});
