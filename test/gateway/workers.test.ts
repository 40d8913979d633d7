/** Calls over HTTP while workers exit and are replaced. */
import { Agent, request as startRequest } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { type Served, serve } from '../support/served.js';

const waitOptions = { timeout: 30_000 };

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database[Symbol.asyncDispose]();
});

async function serveWorkers(settings: Record<string, string> = {}): Promise<Served> {
  const service = await serve({ DATABASE_URL: database.url, WORKERS: '2', ...settings });
  onTestFinished(async () => {
    if (service.process.exitCode === null && service.process.signalCode === null) await service.end('SIGTERM');
  });
  return service;
}

/** Sends one call after the other over one connection, until it is stopped. */
function callOn(url: string) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const failures: unknown[] = [];
  let answered = 0;
  let isRunning = true;
  const call = () =>
    new Promise<number>((resolve, reject) => {
      const headers = { 'content-type': 'application/json' };
      const request = startRequest(`${url}/users.v1.UserService/ListUsers`, { method: 'POST', headers, agent });
      request.on('error', reject);
      request.on('response', (response) => {
        buffer(response).then(() => resolve(response.statusCode ?? 0), reject);
      });
      request.end('{"pageSize":1}');
    });
  const running = (async () => {
    while (isRunning) {
      try {
        const status = await call();
        if (status === 200) answered++;
        else failures.push(status);
      } catch (error) {
        failures.push(error);
      }
      // Leaves CPU time to workers that start.
      await sleep(2);
    }
    agent.destroy();
  })();
  const stop = async () => {
    isRunning = false;
    await running;
    return failures;
  };
  onTestFinished(async () => void (await stop()));
  return { answered: () => answered, stop };
}

function messages({ lines }: Served): unknown[] {
  return lines.map(({ msg }) => msg);
}

describe('workers', () => {
  it('share the calls over HTTP', async () => {
    const service = await serveWorkers();
    const loads = Array.from({ length: 4 }, () => callOn(service.http));
    await vi.waitFor(() => {
      const calls = service.lines.filter(({ msg }) => msg === 'call');
      expect(new Set(calls.map(({ worker }) => worker))).toEqual(new Set([1, 2]));
    }, waitOptions);
    expect((await Promise.all(loads.map((load) => load.stop()))).flat()).toEqual([]);
  });

  it('are restarted by SIGHUP, and no call fails meanwhile', async () => {
    const service = await serveWorkers();
    const loads = Array.from({ length: 8 }, () => callOn(service.http));
    await vi.waitFor(() => expect(loads.every((load) => load.answered() > 10)).toBe(true), waitOptions);
    service.process.kill('SIGHUP');
    await vi.waitFor(() => expect(messages(service)).toContain('restarted the workers'), waitOptions);
    const answered = loads.map((load) => load.answered());
    await vi.waitFor(
      () => expect(loads.every((load, index) => load.answered() > (answered[index] ?? 0) + 10)).toBe(true),
      waitOptions,
    );
    expect((await Promise.all(loads.map((load) => load.stop()))).flat()).toEqual([]);
    expect(service.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('that are killed fail only the calls that they had, and the others continue', async () => {
    const service = await serveWorkers();
    const loads = Array.from({ length: 8 }, () => callOn(service.http));
    await vi.waitFor(() => expect(loads.every((load) => load.answered() > 10)).toBe(true), waitOptions);
    const pid = service.lines.find(({ msg }) => msg === 'a worker is serving')?.pid;
    process.kill(Number(pid), 'SIGKILL');
    await vi.waitFor(
      () => expect(messages(service).filter((message) => message === 'a worker is serving')).toHaveLength(3),
      waitOptions,
    );
    const answered = loads.map((load) => load.answered());
    await vi.waitFor(
      () => expect(loads.every((load, index) => load.answered() > (answered[index] ?? 0) + 10)).toBe(true),
      waitOptions,
    );
    for (const load of loads) expect((await load.stop()).length).toBeLessThanOrEqual(1);
  });
});
