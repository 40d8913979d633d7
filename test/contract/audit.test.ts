/** The audit log and the change log of the whole server: over gRPC and HTTP, they have the same request ids. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata } from 'nice-grpc';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.js';
import { serve } from '../support/served.js';

let app: TestApp;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'roster-audit-'));
  app = await startTestApp({ AUDIT_LOG: join(folder, 'audit.log') });
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const records = async (path = join(folder, 'audit.log')): Promise<Record<string, unknown>[]> =>
  (await readFile(path, 'utf8'))
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));

const planted = () => ({
  firstName: 'Planted',
  email: `planted-${randomUUID()}@example.com`,
  attributes: { planted: 'planted' },
});

async function recordOf(requestId: string, path?: string) {
  const found = () => records(path).then((all) => all.filter((record) => record.requestId === requestId));
  await vi.waitUntil(async () => (await found()).length > 0, { timeout: 30_000 });
  return found();
}

it('keeps the request id of an HTTP request in the change log and in the audit log', async () => {
  const requestId = `http-${randomUUID()}`;
  const answer = await fetch(`${app.http}/users.v1.UserService/CreateUser`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': requestId },
    body: JSON.stringify({ user: planted() }),
  });
  const { user } = (await answer.json()) as { user: { id: string } };
  const { changes } = await app.client.listUserChanges({ id: user.id });
  expect(changes).toMatchObject([{ requestId, actor: '' }]);
  expect(await recordOf(requestId)).toMatchObject([
    { log: 'audit', event: 'write', credential: 'anyone', status: 'OK', users: 1, ids: [user.id] },
  ]);
});

it('lets a watcher recognize its own changes', async () => {
  const requestId = `grpc-${randomUUID()}`;
  const seen: string[] = [];
  const stop = new AbortController();
  for await (const { changes, caughtUp } of app.client.followUsers({ signal: stop.signal })) {
    if (caughtUp && seen.length === 0 && changes.length === 0) {
      await app.client.createUser({ user: planted() }, { metadata: Metadata({ 'x-request-id': requestId }) });
    }
    seen.push(...changes.map((change) => change.requestId));
    if (seen.length > 0) break;
  }
  expect(seen).toEqual([requestId]);
});

it('has an import, an export and a first-contract profile, and no personal data at all', async () => {
  const metadata = (id: string) => ({ metadata: Metadata({ 'x-request-id': id }) });
  await app.client.importAllUsers([planted(), planted()], metadata('import-1'));
  for await (const _ of app.client.exportAllUsers({ filter: 'email != "planted"' }, metadata('export-1')));
  await app.client.updateUser({ user: { id: 'planted' }, updateMask: ['email'] }, metadata('bad-1')).catch(() => {});
  await app.client.listUsers({ query: 'planted' }, metadata('read-1'));
  expect(await recordOf('import-1')).toMatchObject([{ event: 'import', created: 2, committed: true }]);
  expect(await recordOf('export-1')).toMatchObject([{ phase: 'begin' }, { phase: 'end', sent: expect.any(Number) }]);
  expect(await recordOf('bad-1')).toMatchObject([{ event: 'write', status: 'INVALID_ARGUMENT' }]);
  const text = await readFile(join(folder, 'audit.log'), 'utf8');
  expect(text).not.toMatch(/planted|@|read-1/i);
  expect(JSON.stringify(app.lines)).not.toMatch(/planted|@/i);
  const [counts] = await app.database.query("select count(*) from changes where changes::text like '%lanted%'");
  expect(counts).toEqual({ count: '0' });
});

it('has an import that may be written as unknown only if it fails during its commit', async () => {
  const options = (id: string) => ({ metadata: Metadata({ 'x-request-id': id }) });
  async function* givenUp() {
    yield planted();
    // The client sends nothing of an import that fails at once.
    const running = 'roster_calls_in_flight{rpc_method="users.v1.UserService/ImportUsers"} 1';
    const isRunning = async () => (await (await fetch(`${app.http}/metrics`)).text()).includes(running);
    await vi.waitUntil(isRunning, { timeout: 30_000 });
    throw new Error('given up');
  }
  await expect(app.client.importAllUsers(givenUp(), options('given-up'))).rejects.toThrow('given up');
  const [givenUpRecord] = await recordOf('given-up');
  expect(givenUpRecord).toMatchObject({ event: 'import', status: 'CANCELLED' });
  expect(givenUpRecord).not.toHaveProperty('outcome');

  await app.database.query(`
    create function wait() returns trigger language plpgsql as $$ begin perform pg_sleep(60); return null; end $$;
    create constraint trigger wait after insert on users deferrable initially deferred
      for each row execute function wait()`);
  const stop = new AbortController();
  const importing = app.client.importAllUsers([planted()], { ...options('during-commit'), signal: stop.signal });
  const isCommitting = async () => {
    const sql =
      "select 1 from pg_stat_activity where query = 'commit' and state = 'active' and datname = current_database()";
    return (await app.database.query(sql)).length > 0;
  };
  await vi.waitUntil(isCommitting, { timeout: 30_000 });
  stop.abort();
  await expect(importing).rejects.toThrow();
  expect(await recordOf('during-commit')).toMatchObject([{ status: 'CANCELLED', outcome: 'unknown' }]);
  await app.database.query('drop function wait cascade');
});

it('goes to the standard output of several workers, or to one file, as whole lines', async () => {
  const settings = { DATABASE_URL: app.database.url, WORKERS: '2' };
  const path = join(folder, 'workers.log');
  for (const target of ['stdout', path]) {
    const served = await serve({ ...settings, AUDIT_LOG: target });
    const created = Array.from({ length: 40 }, () =>
      fetch(`${served.http}/users.v1.UserService/CreateUser`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', connection: 'close' },
        body: JSON.stringify({ user: planted() }),
      }),
    );
    for (const answer of await Promise.all(created)) expect(answer.status).toBe(200);
    expect(await served.end('SIGTERM')).toBe(0);
    const lines = target === path ? await records(path) : served.lines.filter(({ log }) => log === 'audit');
    expect(lines.filter(({ event, status }) => event === 'write' && status === 'OK')).toHaveLength(40);
  }
}, 180_000);

it('must be a file that can be appended to', async () => {
  await expect(startTestApp({ AUDIT_LOG: folder })).rejects.toThrow(
    'AUDIT_LOG is a file to which Roster cannot append',
  );
});
