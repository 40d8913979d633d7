/** The commands that call a server, against a real one: their output and their exit codes. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer } from '../rpc/harness.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { type Ran, roster, start, type World } from './command-line.js';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(async () => {
  await app[Symbol.asyncDispose]();
});

function call(args: readonly string[], world: World = {}): Promise<Ran> {
  return roster(args, { ...world, env: { ROSTER_ADDRESS: app.address, ...world.env } });
}

async function createAda(...more: string[]): Promise<{ id: string; email: string; etag: string }> {
  const email = `ada-${randomUUID()}@example.com`;
  const { out } = await call(['create', '--first-name', 'Ada', '--email', email, '--json', ...more]);
  return JSON.parse(out);
}

describe('roster create', () => {
  it('shows the created user', async () => {
    const ran = await call([
      'create',
      '--first-name',
      'Ada',
      '--last-name',
      'Lovelace',
      '--email',
      'table@example.com',
    ]);
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toMatch(/^Id +[0-9a-f-]{36}\nName +Ada Lovelace\n/);
  });

  it('writes JSON as protobuf maps it, with attributes of any type', async () => {
    const user = await createAda('--attribute', 'floor=3', '--attribute', 'team=ops=1', '--attributes', '{"a":[null]}');
    expect(user).toMatchObject({ firstName: 'Ada', attributes: { floor: 3, team: 'ops=1', a: [null] } });
    expect(user).toHaveProperty('createTime', expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]+\.\d{3}Z$/));
  });

  it('ends with 2 and a line for each invalid flag', async () => {
    const ran = await call(['create', '--email', 'none']);
    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err).toMatch(
      /^error: 2 arguments are invalid \(INVALID_ARGUMENT, INVALID_FIELD\)\n {2}--first-name: .*\n {2}--email: .*\n$/,
    );
    const { error } = JSON.parse((await call(['create', '--email', 'none', '--json'])).err);
    expect(error.violations).toMatchObject([{ field: 'user.first_name' }, { field: 'user.email' }]);
  });

  it.each([
    [['create', '--first-name', 'Ada', '--email', 'none'], '--email: must be one email address, like ada@example.com'],
    [
      ['create', '--first-name', 'A', '--email', 'a@b.cd', '--request-id', 'x'],
      '--request-id: must be a UUID or empty',
    ],
    [['update', randomUUID(), '--first-name', ''], '--first-name: must have 1 to 256 characters'],
    [['update', randomUUID(), '--profile-image-url', 'x'], '--profile-image-url: must be'],
    [['list', '--filter', 'x =='], '--filter: must be a CEL expression'],
    [['list', '--order-by', 'shoe_size'], '--order-by: must be a comma-separated list'],
    [['list', '--query', 'x'.repeat(300)], '--query: must have at most 256 characters'],
    [['watch', '--resume-token', 'x'], '--resume-token: must be'],
  ])('names the flag of an invalid value once: %j', async (args, text) => {
    const ran = await call(args);
    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err).toMatch(/^error: .*\(INVALID_ARGUMENT, \w+\)\n$/);
    expect(ran.err.startsWith(`error: ${text}`)).toBe(true);
  });

  it('ends with 4 if the email is taken, and reports it in JSON with --json', async () => {
    const { email } = await createAda();
    const ran = await call(['create', '--first-name', 'B', '--email', email, '--json']);
    expect(ran).toMatchObject({ code: 4, out: '' });
    expect(JSON.parse(ran.err)).toMatchObject({
      error: { code: 'ALREADY_EXISTS', reason: 'EMAIL_TAKEN', violations: [{ field: 'user.email' }], exitCode: 4 },
    });
  });

  it('creates only one user with the same request id', async () => {
    const args = [
      'create',
      '--first-name',
      'A',
      '--email',
      `${randomUUID()}@x`,
      '--request-id',
      randomUUID(),
      '--json',
    ];
    const first = await call(args);
    expect(await call(args)).toEqual(first);
  });
});

describe('roster get', () => {
  it('accepts an id or an email, in any case', async () => {
    const { id, email } = await createAda();
    for (const idOrEmail of [id, id.toUpperCase(), email, email.toUpperCase()]) {
      const { code, out } = await call(['get', idOrEmail, '--json']);
      expect(code).toBe(0);
      expect(JSON.parse(out)).toMatchObject({ id, email });
    }
  });

  it('ends with 3 if the user does not exist', async () => {
    expect(await call(['get', 'nobody@example.com'])).toEqual({
      code: 3,
      out: '',
      err: 'error: The user does not exist. (NOT_FOUND, USER_NOT_FOUND)\n',
    });
  });

  it.each(['get', 'update', 'delete'])('%s ends with 2 for an argument that is neither', async (name) => {
    const flags = { get: [], update: ['--first-name', 'B'], delete: ['--yes'] }[name] ?? [];
    const { code, err } = await call([name, 'ada', ...flags]);
    expect(code).toBe(2);
    expect(err).toBe('error: Pass the id of a user (a UUID) or an email, which contains an @.\n');
  });

  it('escapes control characters', async () => {
    const { id } = await createAda('--attribute', 'note=\u001b[31mred\u009b0m');
    for (const flags of [[], ['--json'], ['--output', 'yaml'], ['--output', 'csv']]) {
      const { out } = await call(['get', id, ...flags]);
      expect(out).toMatch(/\\(?:u001b|e)\[31mred\\u009b0m/);
      expect(out).not.toMatch(/[^\P{Cc}\n]/u);
    }
  });
});

describe('roster update', () => {
  it('changes the given fields, clears the named ones, and leaves the rest', async () => {
    const { id } = await createAda('--last-name', 'Byron', '--attribute', 'a=1', '--attribute', 'b=2');
    const { code, out } = await call([
      'update',
      id,
      '--first-name',
      'Augusta',
      '--clear',
      'last-name',
      '--attribute',
      'a=3',
      '--clear',
      'attributes.b',
      '--json',
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ id, displayName: 'Augusta', lastName: '', attributes: { a: 3 } });
    expect(JSON.parse(out).attributes).not.toHaveProperty('b');
  });

  it('accepts an email', async () => {
    const { id, email } = await createAda();
    const { code, out } = await call(['update', email, '--last-name', 'King', '--json']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ id, displayName: 'Ada King' });
    expect(await call(['update', 'nobody@example.com', '--last-name', 'King'])).toMatchObject({ code: 3 });
  });

  it('ends with 4 if the etag is old', async () => {
    const { id, etag } = await createAda();
    expect(await call(['update', id, '--first-name', 'B', '--etag', etag])).toMatchObject({ code: 0 });
    const ran = await call(['update', id, '--first-name', 'C', '--etag', etag]);
    expect(ran.code).toBe(4);
    expect(ran.err).toContain('ETAG_MISMATCH');
  });

  it.each([[[]], [['--clear', 'email']], [['--clear', 'last-name', '--last-name', 'B']], [['--attributes', '[]']]])(
    'ends with 2 for %j',
    async (flags) => {
      const { id } = await createAda();
      expect(await call(['update', id, ...flags])).toMatchObject({ code: 2, out: '' });
    },
  );
});

describe('roster delete', () => {
  it('asks on a terminal, and treats any answer except yes as no', async () => {
    const { id, email } = await createAda();
    const env = { ROSTER_ADDRESS: app.address };
    const declined = start(['delete', id], { env, columns: 80 });
    declined.stdin.end('\n');
    expect(await declined.ended).toMatchObject({ code: 1, out: '' });
    const asked = start(['delete', id], { env, columns: 80 });
    asked.stdin.write('yes\n');
    const question = `Ada <${email}>\nId ${id}\nErase this user from ${app.address}? [y/N] `;
    expect(await asked.ended).toEqual({ code: 0, out: `Erased ${id}.\n`, err: question });
    expect(await call(['get', id])).toMatchObject({ code: 3 });
  });

  it('finds the user of an email, and erases only the user that it has shown', async () => {
    const { id, email } = await createAda();
    const asked = start(['delete', email], { env: { ROSTER_ADDRESS: app.address }, columns: 80 });
    await expect
      .poll(() => asked.output().err, { timeout: 30_000 })
      .toContain(`Id ${id}\nErase this user from ${app.address}?`);
    // Meanwhile somebody else changes the user.
    expect(await call(['update', email, '--last-name', 'King'])).toMatchObject({ code: 0 });
    asked.stdin.write('yes\n');
    const ran = await asked.ended;
    expect(ran.code).toBe(4);
    expect(ran.err).toContain('ETAG_MISMATCH');
    expect(await call(['delete', email.toUpperCase(), '--yes'])).toMatchObject({ code: 0, out: `Erased ${id}.\n` });
    expect(await call(['delete', email, '--yes'])).toMatchObject({ code: 3 });
    expect(await call(['delete', email, '--yes', '--allow-missing'])).toMatchObject({ code: 0 });
  });

  it('requires --yes without a terminal', async () => {
    const { id } = await createAda();
    expect(await call(['delete', id])).toMatchObject({ code: 2 });
    expect(await call(['delete', id, '--yes', '--json'])).toEqual({ code: 0, out: '{}\n', err: '' });
    expect(await call(['delete', id, '--yes'])).toMatchObject({ code: 3 });
    expect(await call(['delete', id, '--yes', '--allow-missing'])).toMatchObject({ code: 0 });
  });

  it('can be interrupted at its question', async () => {
    const { id } = await createAda();
    const asked = start(['delete', id], { env: { ROSTER_ADDRESS: app.address }, columns: 80 });
    await expect.poll(() => asked.output().err, { timeout: 30_000 }).toContain('[y/N]');
    asked.signals.emit('SIGINT');
    expect(await asked.ended).toMatchObject({ code: 130, out: '' });
  });
});

describe('roster list', () => {
  const filter = 'attributes.suite == "list"';
  const ids: string[] = [];
  beforeAll(async () => {
    for (let index = 0; index < 7; index++) {
      ids.push((await createAda('--attribute', 'suite=list', '--last-name', `Number ${index}`)).id);
    }
  });
  const listed = ({ out }: Ran) =>
    out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).id);

  it('reads all pages, and prints one user on each line', async () => {
    const ran = await call(['list', '--filter', filter, '--limit', '0', '--page-size', '2', '--json']);
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(listed(ran)).toEqual(ids);
  });

  it('stops at the limit, and says so on the standard error output', async () => {
    const ran = await call(['list', '--filter', filter, '--limit', '3', '--page-size', '2', '--total', '--json']);
    expect(listed(ran)).toEqual(ids.slice(0, 3));
    expect(JSON.parse(ran.err)).toEqual({ more: true, totalSize: '7' });
  });

  it('orders and searches', async () => {
    const ran = await call(['list', '--filter', filter, '--query', 'NUMBER', '--order-by', 'last_name desc', '--json']);
    expect(listed(ran)).toEqual(ids.toReversed());
  });

  it('prints a table that fits the terminal', async () => {
    const ran = await call(['list', '--filter', filter, '--limit', '2', '--total'], { columns: 80 });
    const lines = ran.out.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^ID +NAME +EMAIL +CREATED$/);
    expect(lines).toHaveLength(3);
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
    expect(ran.err).toBe('2 of 7 users.\nThere are more. Pass --limit 0 to list all.\n');
  });

  it('says if no user matches', async () => {
    expect(await call(['list', '--query', randomUUID()])).toEqual({ code: 0, out: '', err: 'No users.\n' });
  });

  it('ends with 2 for an invalid filter', async () => {
    const ran = await call(['list', '--filter', '==']);
    expect(ran.code).toBe(2);
    expect(ran.err).toContain('INVALID_FILTER');
  });

  it('ends without an error if its reader closes the output', async () => {
    const flags = ['--filter', filter, '--page-size', '1', '--json'];
    const ran = await call(['list', ...flags], { writesMax: 1 });
    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(listed(ran)).toEqual(ids.slice(0, 1));
  });
});

describe('roster count', () => {
  it('prints the number of users that match', async () => {
    for (let index = 0; index < 3; index++) await createAda('--attribute', 'suite=count', '--last-name', `N${index}`);
    const filter = 'attributes.suite == "count"';
    expect(await call(['count', '--filter', filter])).toEqual({ code: 0, out: '3\n', err: '' });
    expect(await call(['count', '--filter', filter, '--query', 'n1'])).toMatchObject({ code: 0, out: '1\n' });
    expect(await call(['count', '--filter', filter, '--json'])).toMatchObject({ out: '{"totalSize":"3"}\n' });
    const all = Number((await call(['count'])).out);
    expect(all).toBeGreaterThanOrEqual(3);
    expect((await call(['count', '--filter', '=='])).code).toBe(2);
  });
});

describe('roster health', () => {
  it('ends with 0 if the server serves, and with 5 if no server answers', async () => {
    expect(await call(['health'])).toMatchObject({ code: 0, out: 'SERVING\n' });
    expect(await roster(['health', '--address', 'localhost:1'])).toMatchObject({ code: 5, out: '' });
  });

  it('ends with 5 if the server answers that it is not serving', async () => {
    const server = await startTestServer();
    const health = (...flags: string[]) => roster(['health', '--address', server.target, ...flags]);
    expect(await health('--json')).toEqual({ code: 0, out: '{"status":"SERVING"}\n', err: '' });
    server.setServing('nothing');
    const ran = await health();
    expect(ran).toMatchObject({ code: 5, out: '' });
    expect(ran.err).toContain('NOT_SERVING');
    // The server is running, so the error must not suggest starting one.
    expect(ran.err).not.toContain('roster serve');
  });

  it('checks a service, so that a server which serves only reads fails for writes', async () => {
    const server = await startTestServer();
    const health = (...flags: string[]) => roster(['health', '--address', server.target, ...flags]);
    expect(await health('--service', 'writes')).toEqual({ code: 0, out: 'SERVING\n', err: '' });
    server.setServing('reads');
    expect(await health()).toMatchObject({ code: 0, out: 'SERVING\n' });
    expect(await health('--service', 'users.v1.UserService')).toMatchObject({ code: 0 });
    const ran = await health('--service', 'writes');
    expect(ran).toMatchObject({ code: 5, out: '' });
    expect(ran.err).toContain('The server does not serve "writes".');
    expect(ran.err).toContain('NOT_SERVING');
    const unknown = await health('--service', 'unknown');
    expect(unknown).toMatchObject({ out: '' });
    expect(unknown.err).toContain('no service of this name');
    expect([0, 5]).not.toContain(unknown.code);
  });
});

describe('every call', () => {
  it('ends with 5 if no server answers', async () => {
    // Nothing listens on port 1.
    const ran = await roster(['get', 'a@b', '--address', 'localhost:1']);
    expect(ran).toMatchObject({ code: 5, out: '' });
    expect(ran.err).toContain('npm run serve');
  });

  it('ends with 2 and reports all problems of its settings', async () => {
    const ran = await roster(['get', 'a@b', '--address', 'no where', '--deadline-ms', 'soon']);
    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err.match(/^error: --(address|deadline-ms) /gm)).toHaveLength(2);
    // The client validates the form of an address.
    const refused = await roster(['get', 'a@b', '--address', 'http://localhost:50051']);
    expect(refused).toMatchObject({ code: 2, out: '' });
    expect(refused.err).toMatch(/^error: An address must be host:port, .*\n$/);
  });

  it('reads a token from a file, and never sends it without TLS to another machine', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'roster-'));
    try {
      const file = join(folder, 'token');
      await writeFile(file, 'secret\n');
      expect(await call(['list', '--token-file', file])).toMatchObject({ code: 0 });
      const refused = await roster(['list', '--token-file', file, '--address', 'roster.example:1']);
      expect(refused.code).toBe(2);
      expect(refused.err).not.toContain('secret');
      expect(refused.err).toBe(
        'error: A token cannot be sent to another machine without TLS. Pass --tls, or --ca for a private authority.\n',
      );
      expect(await call(['list', '--token-file', join(folder, 'missing')])).toMatchObject({ code: 2 });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('roster changes', () => {
  it('shows who changed a user, by id also after the deletion', async () => {
    const { id, email } = await createAda();
    const table = await call(['changes', email]);
    expect(table).toMatchObject({ code: 0, err: '' });
    expect(table.out).toMatch(/^TIME +CHANGE +ACTOR +REQUEST ID *\n\d{4}-\S+Z +created +\S+ *\n$/);
    await call(['delete', id, '--yes']);
    const { out } = await call(['changes', id, '--json']);
    const lines = out.split('\n').slice(0, -1);
    expect(lines.map((line) => JSON.parse(line))).toEqual(
      ['TYPE_DELETED', 'TYPE_CREATED'].map((type) => ({
        type,
        changeTime: expect.any(String),
        actor: '',
        requestId: expect.stringMatching(/./),
      })),
    );
    expect(await call(['changes', id, '--limit', '1'])).toMatchObject({
      err: 'There are more. Pass --limit 0 to show all.\n',
    });
    expect(await call(['changes', email])).toMatchObject({ code: 3 });
  });

  it('says if a user has no changes, and refuses other texts than ids and emails', async () => {
    expect(await call(['changes', randomUUID()])).toEqual({ code: 0, out: '', err: 'No changes.\n' });
    expect(await call(['changes', 'ada'])).toMatchObject({ code: 2, out: '' });
  });
});
