/** `roster watch` against a real server: its output as text and as JSON, and where the next watch starts. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Fault } from '../../src/model/fault.js';
import { watchTokenOf } from '../../src/model/watch-token.js';
import { ada, startTestServer } from '../rpc/harness.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { roster, type Started, start } from './command-line.js';

let app: TestApp;
let folder: string;
beforeAll(async () => {
  app = await startTestApp();
  folder = await mkdtemp(join(tmpdir(), 'roster-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await app[Symbol.asyncDispose]();
});

const eventually = (read: () => unknown) => expect.poll(read, { timeout: 30_000 });

function watch(...flags: string[]): Started {
  return start(['watch', ...flags], { env: { ROSTER_ADDRESS: app.address } });
}

async function createUser(firstName: string): Promise<string> {
  const { user } = await app.client.createUser({ user: { firstName, email: `${randomUUID()}@example.com` } });
  return user?.id ?? '';
}

function linesOf({ output }: Started): Record<string, unknown>[] {
  return output()
    .out.split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

it('prints all users, then every change, and its tokens as JSON', async () => {
  const id = await createUser('Ada');
  const watching = watch('--existing', '--json');
  await eventually(() => linesOf(watching)).toContainEqual(
    expect.objectContaining({ type: 'TYPE_EXISTING', user: expect.objectContaining({ id, firstName: 'Ada' }) }),
  );
  await eventually(() => linesOf(watching).at(-1)).toMatchObject({
    caughtUp: true,
    resumeToken: expect.stringMatching(/./),
  });
  await app.client.deleteUser({ id });
  await eventually(() => linesOf(watching)).toContainEqual(
    expect.objectContaining({ type: 'TYPE_DELETED', changeTime: expect.stringMatching(/Z$/) }),
  );
  // The token comes after the changes that it covers.
  await eventually(() => linesOf(watching).at(-1)).toHaveProperty('resumeToken');
  watching.signals.emit('SIGINT');
  const { code, err } = await watching.ended;
  expect(code).toBe(130);
  const { resumeToken } = linesOf(watching).at(-1) ?? {};
  expect(err.split('\n').map((line) => line && JSON.parse(line))).toEqual([
    { message: 'Caught up: changes follow as they happen.' },
    { resumeToken },
    '',
  ]);

  const again = await createUser('Eve');
  const resumed = watch('--json', '--resume-token', String(resumeToken));
  await eventually(() => linesOf(resumed)[0]).toMatchObject({ type: 'TYPE_CREATED', user: { id: again } });
  resumed.signals.emit('SIGINT');
  await resumed.ended;
});

it('prints a line for each change, without characters that control a terminal', async () => {
  const state = join(folder, randomUUID());
  const watching = watch('--state', state);
  await eventually(() => readFile(state, 'utf8').catch(() => '')).toMatch(/^\S+\n$/);
  const id = await createUser('Zo\u202eë');
  await eventually(() => watching.output().out).toMatch(
    new RegExp(`^\\d{4}-\\S+Z  created   ${id}  Zo\\\\u202eë <\\S+@example.com>\n$`),
  );
  await app.client.deleteUser({ id });
  await eventually(() => watching.output().out).toMatch(new RegExp(`\n\\S+  deleted   ${id}\n$`));
  watching.signals.emit('SIGINT');
  // The file has the token, so it is not printed.
  expect(await watching.ended).toMatchObject({ code: 130, err: '' });
});

it('remembers the last shown change, and starts from there', async () => {
  const state = join(folder, randomUUID());
  const first = watch('--existing', '--state', state, '--json');
  await eventually(() => linesOf(first).at(-1)).toMatchObject({ caughtUp: true });
  const token = () => readFile(state, 'utf8').catch(() => '');
  await eventually(token).toBe(`${linesOf(first).at(-1)?.resumeToken}\n`);
  first.signals.emit('SIGINT');
  await first.ended;
  const id = await createUser('Ada');
  const second = watch('--existing', '--state', state, '--json');
  await eventually(() => linesOf(second)[0]).toMatchObject({ type: 'TYPE_CREATED', user: { id } });
  second.signals.emit('SIGINT');
  await second.ended;
});

it('says that the connection was lost and restored, and that it had to start over', async () => {
  const state = join(folder, randomUUID());
  const old = watchTokenOf({ feedId: randomUUID(), snapshot: '5:5:' });
  await writeFile(state, `${old}\n`);
  const requested: string[] = [];
  const server = await startTestServer({
    async *watchUsers({ position, includeExisting }, signal) {
      requested.push(position === undefined ? `existing: ${includeExisting}` : watchTokenOf(position));
      if (requested.length === 1) throw new Fault('DATABASE_UNAVAILABLE', 'It went away.');
      if (requested.length === 2) throw new Fault('RESUME_TOKEN_EXPIRED', 'Too old.');
      yield {
        changes: [{ type: 'existing', user: ada, userId: ada.id, changeTime: ada.updateTime }],
        resumeToken: '',
        caughtUp: false,
      };
      yield { changes: [], resumeToken: 'new', caughtUp: true };
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    },
  });
  const watching = start(['watch', '--state', state, '--json'], { env: { ROSTER_ADDRESS: server.target } });
  await eventually(() => readFile(state, 'utf8')).toBe('new\n');
  watching.signals.emit('SIGINT');
  const { code, err } = await watching.ended;
  expect(code).toBe(130);
  expect(requested).toEqual([old, old, 'existing: true']);
  expect(err.split('\n').map((line) => line && JSON.parse(line).message)).toEqual([
    'Not connected (DATABASE_UNAVAILABLE). Trying again.',
    'Connected again.',
    'Started over: all existing users follow.',
    'Caught up: changes follow as they happen.',
    '',
  ]);
  expect(linesOf(watching)).toMatchObject([
    { startedOver: true },
    { type: 'TYPE_EXISTING', user: { id: ada.id } },
    { caughtUp: false, resumeToken: '' },
    { caughtUp: true, resumeToken: 'new' },
  ]);
});

it('ends if the token is invalid, or if its reader closes the output', async () => {
  const env = { ROSTER_ADDRESS: app.address };
  expect(await roster(['watch', '--resume-token', 'none'], { env })).toMatchObject({ code: 2 });
  expect(await roster(['watch', '--json'], { env, writesMax: 0 })).toMatchObject({ code: 0, err: '' });
  expect(await roster(['watch', '--state', folder], { env })).toMatchObject({ code: 2 });
  const nowhere = join(folder, 'none', 'token');
  expect(await roster(['watch', '--state', nowhere], { env })).toMatchObject({ code: 2, out: '' });
});

it('shows who made a change, if the server knows', async () => {
  const server = await startTestServer({
    async *watchUsers(_request, signal) {
      const change = { type: 'updated', user: ada, userId: ada.id, changeTime: ada.updateTime } as const;
      yield { changes: [{ ...change, actor: 'key:billing', requestId: 'job-7' }], resumeToken: 'new', caughtUp: true };
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    },
  });
  for (const flags of [[], ['--json']]) {
    const watching = start(['watch', ...flags], { env: { ROSTER_ADDRESS: server.target } });
    await eventually(() => watching.output().out).toContain(
      flags.length === 0 ? '<ada@example.com>  by key:billing\n' : '"actor":"key:billing","requestId":"job-7"}\n',
    );
    watching.signals.emit('SIGINT');
    await watching.ended;
  }
});
