/** examples/sync in a copy outside the repository, as a separate process that is killed repeatedly. */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.js';
import { createOutsideProject, type OutsideProject, type Started } from '../support/outside.js';

const { DatabaseSync } = process.getBuiltinModule('node:sqlite');

const withinMs = { timeout: 30_000, interval: 20 };

let app: TestApp;
let project: OutsideProject;
let running: Started | undefined;

beforeAll(async () => {
  project = await createOutsideProject();
  await project.copyFrom('examples/sync');
  app = await startTestApp();
});

afterAll(async () => {
  running?.kill('SIGKILL');
  await running?.ended;
  await app?.[Symbol.asyncDispose]();
  project?.[Symbol.dispose]();
});

function start(): Started {
  running = project.start('exec node sync.ts', { ROSTER_ADDRESS: app.address });
  return running;
}

async function startInSync(): Promise<Started> {
  const sync = start();
  await expect.poll(sync.output, withinMs).toContain('In sync');
  return sync;
}

async function kill({ kill, ended }: Started): Promise<void> {
  kill('SIGKILL');
  await ended;
}

function query<T>(sql: string): T[] {
  const index = new DatabaseSync(`${project.folder}/users.db`, { readOnly: true });
  try {
    return index.prepare(sql).all() as T[];
  } finally {
    index.close();
  }
}

const indexed = () =>
  query<{ id: string; name: string; email: string }>('select id, name, email from people order by id');
const applied = () => query<{ applied: number }>('select applied from state')[0]?.applied;

async function inDirectory() {
  const users = await Array.fromAsync(app.client.listAllUsers());
  return users.map(({ id, displayName: name, email }) => ({ id, name, email })).sort((a, b) => (a.id < b.id ? -1 : 1));
}

async function search(words: string): Promise<string> {
  const { output, ended } = project.start(`exec node search.ts ${words}`, {});
  expect(await ended).toBe(0);
  return output();
}

async function importSome(count: number, name: string): Promise<void> {
  const users = Array.from({ length: count }, (_, number) => ({
    firstName: name,
    lastName: `${number}`,
    email: `${name}${number}@example.com`,
  }));
  await app.client.importAllUsers(users);
}

describe('examples/sync', () => {
  it('compiles against the client’s types', () => {
    expect(project.typeErrors()).toBe('');
  });

  it('indexes existing users and later changes', async () => {
    await importSome(2_500, 'Ida');
    const { user } = await app.client.createUser({
      user: { firstName: 'Zoë', lastName: 'Ångström', email: 'zoe@example.com' },
    });
    const sync = await startInSync();
    expect(sync.output()).toContain('In sync: 2501 users.');
    expect(indexed()).toEqual(await inDirectory());
    expect(await search('zoe angs')).toContain('Zoë Ångström zoe@example.com');

    await app.client.updateUser({ user: { id: user?.id, lastName: 'King' } });
    await expect.poll(() => search('king'), withinMs).toContain('Zoë King');
    expect(await search('angs')).toBe('');
    await app.client.deleteUser({ id: user?.id });
    await expect.poll(() => search('king'), withinMs).toBe('');

    sync.kill('SIGINT');
    expect(await sync.ended).toBe(0);
  });

  it('applies each change exactly once, even if it is killed repeatedly', async () => {
    await kill(await startInSync());
    const before = applied() ?? 0;
    let changes = 0;
    let kills = 0;
    async function write(): Promise<void> {
      for (let number = 0; kills < 5; number++) {
        const { user } = await app.client.createUser({ user: { firstName: 'Kim', email: `kim${number}@example.com` } });
        await app.client.updateUser({ user: { id: user?.id, lastName: `K${number}` } });
        changes += 2;
        if (number % 3 !== 0) continue;
        await app.client.deleteUser({ id: user?.id });
        await importSome(5, `Import${number}-`);
        changes += 6;
      }
    }
    const writing = write();
    for (; kills < 5; kills++) {
      const sync = await startInSync();
      // Kills at a random moment.
      await sleep(randomInt(200));
      await kill(sync);
    }
    await writing;

    const sync = await startInSync();
    await expect.poll(applied, withinMs).toBe(before + changes);
    expect(indexed()).toEqual(await inDirectory());
    await kill(sync);
  });

  it('starts over if its token has expired, and removes deleted users, even if it is killed meanwhile', async () => {
    await kill(await startInSync());
    const [first] = await inDirectory();
    await app.client.deleteUser({ id: first?.id });
    await app.client.createUser({ user: { firstName: 'Nora', email: 'nora@example.com' } });
    await app.database.query('update change_feed set id = gen_random_uuid(), xid = pg_current_xact_id()');

    const cutOff = start();
    await expect.poll(cutOff.output, withinMs).toContain('Starting over');
    await kill(cutOff);

    const sync = await startInSync();
    await expect.poll(indexed, withinMs).toEqual(await inDirectory());
    expect(indexed().map(({ id }) => id)).not.toContain(first?.id);
    await kill(sync);
  });

  it('refuses to maintain an index that another process maintains', async () => {
    const sync = await startInSync();
    const other = await startInSync();
    await app.client.createUser({ user: { firstName: 'Olga', email: 'olga@example.com' } });
    const ends = await Promise.race([sync.ended, other.ended]);
    expect(ends).toBe(1);
    expect(sync.output() + other.output()).toContain('Another process maintains this index.');
    sync.kill('SIGKILL');
    other.kill('SIGKILL');
    await Promise.all([sync.ended, other.ended]);
  });
});
