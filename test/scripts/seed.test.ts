/** `npm run seed`: the people that it makes, and the program against a real server. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { makePeople } from '../../scripts/seed/people.js';
import { seedReport } from '../../scripts/seed/seed-report.js';
import { startTestApp } from '../support/app.js';

const root = path.resolve(import.meta.dirname, '../..');

describe('the people of npm run seed', () => {
  const people = [...makePeople(5_000, 1)];

  it('are the same for the same seed, others for another, and a shorter list is the beginning of a longer one', () => {
    expect([...makePeople(50, 1)]).toEqual(people.slice(0, 50));
    expect([...makePeople(50, 2)]).not.toEqual(people.slice(0, 50));
  });

  it('have different ASCII emails in domains for examples', () => {
    const form = /^[a-z0-9]+(?:-[a-z0-9]+)*\.[a-z0-9]+(?:-[a-z0-9]+)*(?:\.\d+)?@example\.(?:com|org|net)$/;
    expect(people.map(({ email }) => email).filter((email) => !form.test(email))).toEqual([]);
    expect(new Set(people.map(({ email }) => email)).size).toBe(people.length);
  });

  it('have no control characters in their names, although Faker has one', () => {
    // The first person with this name is number 122,390.
    const names = [...makePeople(122_400, 1)].map(({ firstName, lastName }) => `${firstName} ${lastName}`);
    expect(names.filter((name) => /\p{Cc}/u.test(name))).toEqual([]);
    expect(names.some((name) => name.startsWith('Ömer '))).toBe(true);
  });

  it('have names in the scripts of their cultures', () => {
    const scripts = [
      'Latin',
      'Cyrillic',
      'Greek',
      'Arabic',
      'Hebrew',
      'Devanagari',
      'Thai',
      'Han',
      'Hangul',
      'Georgian',
    ];
    const names = people.map(({ firstName, lastName }) => `${firstName} ${lastName}`);
    for (const script of scripts) {
      const ofScript = names.filter((name) => new RegExp(`\\p{Script=${script}}`, 'u').test(name));
      expect(ofScript.length, script).toBeGreaterThan(10);
    }
  });

  it('have a title and a location, and a manager before them in the list and in their department', () => {
    const departments = new Map<string, string>();
    for (const { email, attributes } of people) {
      const { department = '', title, location, country, manager } = attributes;
      expect([title, location, country]).not.toContain('');
      if (manager === undefined) expect(title).toBe(`Head of ${department}`);
      else expect(departments.get(manager)).toBe(department);
      departments.set(email, department);
    }
  });
});

describe('npm run seed', () => {
  it('reports a flag that npm kept, because the people would go to another directory', async () => {
    await using app = await startTestApp();
    const env = { ...process.env, ROSTER_ADDRESS: app.address, npm_config_address: 'other:50051' };
    const ran = spawn(process.execPath, ['dist/scripts/seed/seed.js', '3'], { cwd: root, env });
    const [stderr, [status]] = await Promise.all([text(ran.stderr), once(ran, 'close')]);
    expect(stderr).toMatch(/^error: npm did not pass --address on\. Write -- before/);
    expect(status).toBe(2);
    expect((await app.client.listUsers({})).users).toEqual([]);
  });

  it('fails if the server rejects a person, because it then adds nobody', async () => {
    await using app = await startTestApp();
    const [person] = makePeople(1, 1);
    const response = await app.client.importAllUsers([person ?? {}, { ...person, email: 'nonsense' }]);
    expect(() => seedReport(response, { seed: 1, ms: 1000, json: false })).toThrow(
      /^The server rejected 1 of the people, so it wrote nobody\. Person 2: email: \S/,
    );
    expect((await app.client.listUsers({})).users).toEqual([]);
  });

  it('adds people, skips them the second time, and says both', async () => {
    await using app = await startTestApp();
    const run = async (...args: string[]) => {
      const seed = spawn(process.execPath, ['dist/scripts/seed/seed.js', ...args], {
        cwd: root,
        env: { ...process.env, ROSTER_ADDRESS: app.address },
      });
      const [stdout, stderr, [status]] = await Promise.all([text(seed.stdout), text(seed.stderr), once(seed, 'close')]);
      return { status, stdout, stderr };
    };
    expect(await run('120')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^Added 120 people in [\d.]+ s \(.+\/s\)\.\n$/),
    });
    expect(await run('200')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(
        /^Added 80 people .*\nSkipped 120, because .* use another seed, such as --seed 2\.\n$/,
      ),
    });
    const { users } = await app.client.listUsers({ filter: 'attributes.department == "Engineering"', pageSize: 200 });
    expect(users.length).toBeGreaterThan(5);
    expect(await run('many')).toMatchObject({ status: 1, stdout: '', stderr: expect.stringMatching(/whole number/) });
    expect(await run('5', '--address', 'localhost:1')).toMatchObject({
      stdout: '',
      stderr: expect.stringMatching(/^error: /),
    });
  });
});
