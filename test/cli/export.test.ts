/** `roster export` against a real server: all users, once, in files that can be resumed and imported. */
import { randomUUID } from 'node:crypto';
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { csvHeader, formatCsvUsers } from '../../src/cli/user-csv.js';
import { ada, startTestServer } from '../rpc/harness.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { storedUser } from '../support/stored-users.js';
import { type Ran, roster, start, type World } from './command-line.js';

const users = 60;

let app: TestApp;
let folder: string;
beforeAll(async () => {
  app = await startTestApp();
  folder = await mkdtemp(join(tmpdir(), 'roster-'));
  // Large users, so that they need several messages.
  const note = 'x"\n,\\'.repeat(1200);
  await app.client.importAllUsers(
    Array.from({ length: users }, (_, index) => ({
      firstName: `=1+"${index}"`,
      lastName: "O'Neil, \\N",
      email: `${index}@export.example`,
      attributes: { note, index },
    })),
  );
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await app[Symbol.asyncDispose]();
});

function call(args: readonly string[], world: World = {}): Promise<Ran> {
  return roster(args, { ...world, env: { ROSTER_ADDRESS: app.address } });
}

/** Leaves out the lines that a command prints if it takes longer than a second. */
function withoutProgress(err: string): string {
  return err.replaceAll(/^Exporting: .*\n/gm, '');
}

async function newPath(extension: string): Promise<string> {
  return join(await mkdtemp(join(folder, 'x-')), `users.${extension}`);
}

describe('roster export', () => {
  it('writes NDJSON to the standard output, as roster list does', async () => {
    const { code, out, err } = await call(['export']);
    expect(code).toBe(0);
    expect(out).toBe((await call(['list', '--limit', '0', '--json'])).out);
    expect(withoutProgress(err)).toMatch(/^Changes since then: \.\/roster watch --resume-token '\S+'\n$/);
  });

  it('prints the token if its file cannot be written', async () => {
    const { code, err } = await call([
      'export',
      await newPath('csv'),
      '--watch-token',
      join(folder, 'missing', 'token'),
    ]);
    expect(code).toBe(1);
    expect(withoutProgress(err)).toMatch(/^Changes since then: \.\/roster watch --resume-token '\S+'\nerror: ENOENT/);
  });

  it('writes the matching users, and the token to a file', async () => {
    const tokenFile = join(folder, randomUUID());
    const filter = 'email == "7@export.example"';
    const { out, err } = await call(['export', '--format', 'csv', '--filter', filter, '--watch-token', tokenFile]);
    expect(out.split('\n', 1)[0]).toBe(
      'id,first_name,last_name,email,profile_image_url,attributes,display_name,create_time,update_time,etag',
    );
    expect(out).toContain(`,"=1+""7""","O'Neil, \\N",7@export.example,,"{""`);
    expect(err).toBe('');
    expect(await readFile(tokenFile, 'utf8')).toMatch(/^\S+\n$/);
    expect((await call(['export', '--format', 'csv', '--filter', 'email == ""'])).out).toBe(csvHeader);
  });

  it.each(['csv', 'ndjson'])('writes %s whose import changes nothing', async (format) => {
    const file = await newPath(format);
    expect(await call(['export', file])).toMatchObject({ code: 0, out: '' });
    const ran = await call(['import', file, '--on-conflict', 'update']);
    expect(ran).toMatchObject({ code: 0, out: `0 created, 0 updated, ${users} skipped, 0 rejected\n` });
  });

  it('ends without an error if its reader closes the output', async () => {
    expect(await call(['export'], { writesMax: 1 })).toMatchObject({ code: 0, err: '' });
  });

  it('ends with 2 for invalid arguments', async () => {
    expect(await call(['export', '--filter', '=='])).toMatchObject({ code: 2, out: '' });
    expect(await call(['export', '--resume'])).toMatchObject({ code: 2 });
    expect(await call(['export', '--json', '--format', 'csv'])).toMatchObject({ code: 2 });
  });
});

describe('an export into a file', () => {
  it.each(['csv', 'ndjson'])('continues in %s where it was killed', async (format) => {
    const whole = await newPath(format);
    await call(['export', whole]);
    const file = await newPath(format);
    // The file after a crash: some users that the saved token covers, and half of a user that it does not.
    const batches = app.client.exportAllUsers().batches()[Symbol.asyncIterator]();
    const { users: first, resumeToken } = (await batches.next()).value ?? { users: [], resumeToken: '' };
    await batches.return?.();
    expect(first.length).toBeLessThan(users);
    const lines = (await readFile(whole, 'utf8')).match(/^(?:[^"\n]|"[^"]*")*\n/gm) ?? [];
    const covered = lines.slice(0, first.length + (format === 'csv' ? 1 : 0)).join('');
    await writeFile(file, covered);
    await appendFile(file, lines.at(-1)?.slice(0, 99) ?? '');
    const progress = { format, filter: '', resumeToken, bytes: Buffer.byteLength(covered), users: first.length };
    await writeFile(`${file}.resume`, JSON.stringify(progress));

    const refused = await call(['export', file]);
    expect(refused).toMatchObject({ code: 2, err: expect.stringMatching(/was interrupted\. Pass --resume/) });
    expect(await call(['export', file, '--resume', '--filter', 'email == "x"'])).toMatchObject({ code: 2 });
    expect(await call(['export', file, '--resume'])).toMatchObject({ code: 0 });
    expect(await readFile(file, 'utf8')).toBe(await readFile(whole, 'utf8'));
    expect(await readdir(join(file, '..'))).toEqual([`users.${format}`]);
    expect(await call(['export', file, '--resume'])).toMatchObject({ code: 2 });
  });

  it('says how to continue, and continues at the same token', async () => {
    const tokens: string[] = [];
    let isWaiting = false;
    const server = await startTestServer({
      async *exportUsers({ resumeToken }, signal) {
        tokens.push(resumeToken);
        if (resumeToken === '') {
          yield { users: [storedUser(ada)], resumeToken: 'after-ada', watchToken: '' };
          isWaiting = true;
          await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
        }
        yield { users: [storedUser({ ...ada, firstName: 'Eve' })], resumeToken: 'end', watchToken: 'watch-here' };
      },
    });
    const env = { ROSTER_ADDRESS: server.target };
    const file = await newPath('csv');
    const started = start(['export', file], { env });
    await expect.poll(() => isWaiting, { timeout: 30_000 }).toBe(true);
    await expect.poll(() => readFile(file, 'utf8'), { timeout: 30_000 }).toContain('Ada');
    started.signals.emit('SIGINT');
    expect(await started.ended).toEqual({
      code: 130,
      out: '',
      err: 'Interrupted: 1 users are in the file. Run the same command with --resume to continue.\n',
    });
    const { err } = await roster(['export', file, '--resume'], { env });
    expect(err).toContain("--resume-token 'watch-here'");
    expect(tokens).toEqual(['', 'after-ada']);
    expect((await readFile(file, 'utf8')).split('\n').map((line) => line.split(',')[1])).toEqual([
      'first_name',
      'Ada',
      'Eve',
      undefined,
    ]);
  });

  it('leaves an existing file unchanged if it fails at once', async () => {
    const file = await newPath('csv');
    await writeFile(file, 'old');
    expect(await call(['export', file, '--filter', '=='])).toMatchObject({ code: 2 });
    expect(await readFile(file, 'utf8')).toBe('old');
    expect(await readdir(join(file, '..'))).toEqual(['users.csv']);
  });

  it('refuses a folder, and a progress file that is not its own', async () => {
    expect(await call(['export', folder])).toMatchObject({ code: 2 });
    const file = await newPath('csv');
    await writeFile(`${file}.resume`, '{"bytes":"no"}');
    expect(await call(['export', file, '--resume'])).toMatchObject({ code: 2 });
  });
});

it('quotes only the cells that CSV must quote, and changes nothing', () => {
  const user = { ...ada, displayName: 'A', etag: 'v1', lastName: ' @x\u2028', firstName: 'a\r', attributes: undefined };
  expect(formatCsvUsers([user])).toBe(
    `${ada.id},"a\r", @x\u2028,ada@example.com,,,A,2026-01-01T00:00:00.123Z,2026-01-02T00:00:00.456Z,v1\n`,
  );
});
