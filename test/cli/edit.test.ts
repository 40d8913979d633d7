/** `roster edit`, with shell scripts as the editors and a real server. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Status } from 'nice-grpc';
import { ErrorInfo, RichServerError } from 'nice-grpc-error-details';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { User } from '../../src/client/index.js';
import { startScriptedServer } from '../client/scripted-server.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { type Started, start } from './command-line.js';

let app: TestApp;
let folder: string;
let user: User;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app[Symbol.asyncDispose]());
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'roster-test-'));
  const email = `ada-${randomUUID()}@example.com`;
  const created = await app.client.createUser({
    user: { firstName: 'Ada', email, attributes: { floor: 3, tags: ['a'], big: 1e21 } },
  });
  if (created.user === undefined) throw new Error('no user');
  user = created.user;
});
afterEach(() => rmSync(folder, { recursive: true }));

const current = async () => (await app.client.getUser({ id: user.id })).user;

/** Starts the command. Each time the editor opens, it runs the next step, a line of shell in which `$1` is the file. */
function edit(steps: readonly string[], args: readonly string[] = [user.id]): Started {
  const file = join(folder, 'editor.sh');
  const cases = steps.map((step, index) => `${index + 1}) ${step} ;;`).join('\n');
  const script = `n=$(($(ls ${folder} | grep -c seen || true) + 1)); ls -l "$1" | cut -c1-10 > ${folder}/mode; echo "$1" > ${folder}/path
cp "$1" ${folder}/seen-$n
case $n in\n${cases}\nesac\n`;
  writeFileSync(file, script);
  const env = { ROSTER_ADDRESS: app.address, EDITOR: `sh -e '${file}'` };
  return start(['edit', ...args], { env });
}

/** The file as the editor opened it for the n-th time. */
const seen = (n: number) => readFileSync(join(folder, `seen-${n}`), 'utf8');
const timesOpened = () => readdirSync(folder).filter((name) => name.startsWith('seen')).length;
const editedPath = () => readFileSync(join(folder, 'path'), 'utf8').trim();

describe('roster edit', () => {
  it('shows the fields as YAML in a private file, and saves what was changed', async () => {
    const { code, out } = await edit(['sed -i "s/lastName:.*/lastName: King/; s/floor: 3/floor: 4/" "$1"']).ended;
    expect(code).toBe(0);
    expect(out).toMatch(/^Name +Ada King$/m);
    expect(parse(seen(1))).toEqual({
      firstName: 'Ada',
      lastName: '',
      email: user.email,
      profileImageUrl: '',
      attributes: user.attributes,
    });
    expect(await current()).toMatchObject({ lastName: 'King', attributes: { floor: 4, tags: ['a'], big: 1e21 } });
    expect(readFileSync(join(folder, 'mode'), 'utf8')).toBe('-rw-------\n');
    expect(existsSync(dirname(editedPath()))).toBe(false);
  });

  it('takes an email, and prints the user as --output says', async () => {
    const { code, out } = await edit(['sed -i "s/Ada/Augusta/" "$1"'], [user.email, '--output', 'id']).ended;
    expect({ code, out }).toEqual({ code: 0, out: `${user.id}\n` });
    expect(await current()).toMatchObject({ firstName: 'Augusta' });
  });

  it('clears a field whose line is removed', async () => {
    await app.client.updateUser({ user: { id: user.id, lastName: 'King' }, updateMask: ['last_name'] });
    expect(await edit(['sed -i "/lastName/d" "$1"']).ended).toMatchObject({ code: 0 });
    expect(await current()).toMatchObject({ lastName: '', firstName: 'Ada', attributes: user.attributes });
  });

  it.each(['true', 'echo "# a comment" >> "$1"', 'touch "$1"'])('says if nothing was changed: %s', async (step) => {
    expect(await edit([step]).ended).toEqual({ code: 0, out: '', err: 'No changes.\n' });
    expect((await current())?.etag).toBe(user.etag);
  });

  it('opens the file again with the reason if the server refuses it', async () => {
    const other = `${randomUUID()}@example.com`;
    await app.client.createUser({ user: { firstName: 'B', email: other } });
    const { code } = await edit([
      'sed -i "s/email:.*/email: none/; s/firstName:.*/firstName: \'\'/; s/lastName:.*/lastName: King/" "$1"',
      `sed -i "s/email:.*/email: ${other}/; s/firstName:.*/firstName: Ada/" "$1"`,
      'sed -i "s/email:.*/email: ada.king@example.com/" "$1"',
    ]).ended;
    expect(code).toBe(0);
    expect(seen(2)).toMatch(/^# error: firstName: .*\n# error: email: .*\n# [^e].*\nfirstName: ''\nlastName: King\n/);
    expect(seen(3)).toMatch(/^# error: email: Another user has this email\.\n# [^e]/);
    expect(await current()).toMatchObject({ email: 'ada.king@example.com', lastName: 'King' });
  });

  it.each([
    ['echo "first: [" > "$1"', /^# error: Flow sequence .* at line 2, column 1\.\n/],
    ['echo "nickname: A" >> "$1"', /^# error: There is no field nickname\. The fields are firstName, /],
    ['sed -i "s/Ada/42/" "$1"', /^# error: firstName must be a text\. Put it in quotes\.\n/],
    ['sed -i "s/floor: 3/floor: 12345678901234567890123/" "$1"', /^# error: A number is too large, /],
    ['echo "just text" > "$1"', /^# error: The file must have one field on each line/],
  ])('opens the file again if it is invalid, and cancels if it stays the same: %s', async (step, reason) => {
    const { code, out, err } = await edit([step, 'true']).ended;
    expect({ code, out, err }).toEqual({
      code: 1,
      out: '',
      err: 'error: The edit was cancelled. Nothing was changed.\n',
    });
    expect(seen(2)).toMatch(reason);
    expect(timesOpened()).toBe(2);
    expect((await current())?.etag).toBe(user.etag);
  });

  it('changes single attributes, and opens the file again if the caller may not change one', async () => {
    const requests: { user?: { attributes?: unknown } | undefined; updateMask?: string[] | undefined }[] = [];
    await using server = await startScriptedServer({
      getUser: async () => ({ user }),
      async updateUser(request) {
        requests.push(request);
        if (requests.length > 1) return { user };
        const reason = ErrorInfo.fromPartial({ reason: 'FIELD_FORBIDDEN', domain: 'users.v1' });
        throw new RichServerError(Status.PERMISSION_DENIED, 'The text of the server.', [reason]);
      },
    });
    const steps = ['sed -i "s/floor: 3/floor: 4/; s/tags:/labels:/" "$1"', 'sed -i "s/floor: 4/floor: 3/" "$1"'];
    const { code } = await edit(steps, [user.id, '--address', server.address]).ended;
    expect(code).toBe(0);
    expect(seen(2)).toMatch(/^# error: The text of the server\.\n/);
    expect(requests).toMatchObject([
      { updateMask: ['attributes.floor', 'attributes.tags', 'attributes.labels'] },
      { updateMask: ['attributes.tags', 'attributes.labels'] },
    ]);
    expect(requests[1]?.user?.attributes).toEqual({ labels: ['a'] });
  });

  it('cancels if an editor without a user writes the same invalid text again', async () => {
    const step = 'echo "just text" > "$1"';
    expect(await edit([step, step, 'exit 3']).ended).toMatchObject({ code: 1 });
    expect(timesOpened()).toBe(2);
  });

  it('merges the changes if somebody else has changed the user', async () => {
    const editing = edit([
      `sed -i "s/lastName:.*/lastName: King/; s/floor: 3/floor: 4/" "$1"; while [ ! -e ${folder}/go ]; do sleep 0.05; done`,
      'true',
    ]);
    await expect.poll(timesOpened, { timeout: 30_000 }).toBe(1);
    const others = { firstName: 'Augusta', attributes: { room: 12 } };
    const updateMask = ['first_name', 'attributes.room'];
    await app.client.updateUser({ user: { id: user.id, ...others }, updateMask });
    writeFileSync(join(folder, 'go'), '');
    expect(await editing.ended).toMatchObject({ code: 0 });
    expect(seen(2)).toMatch(/^# Somebody else has changed the user\./);
    const attributes = { ...user.attributes, floor: 4, room: 12 };
    expect(await current()).toMatchObject({ displayName: 'Augusta King', attributes });
  });

  it.each([
    ['is empty', ': > "$1"'],
    ['was removed', 'rm "$1"'],
  ])('cancels if the file %s', async (_, step) => {
    const { code, out, err } = await edit([step]).ended;
    expect({ code, out, err }).toEqual({
      code: 1,
      out: '',
      err: 'error: The edit was cancelled. Nothing was changed.\n',
    });
    expect(existsSync(dirname(editedPath()))).toBe(false);
  });

  it('changes nothing if the editor fails', async () => {
    const { code, err } = await edit(['sed -i "s/Ada/B/" "$1"; exit 3']).ended;
    expect(code).toBe(1);
    expect(err).toContain('exit code 3). Nothing was changed.\n');
    expect((await current())?.etag).toBe(user.etag);
    expect(existsSync(dirname(editedPath()))).toBe(false);
  });

  it('removes the file and ends the editor after SIGTERM', async () => {
    const editing = edit([`echo $$ > ${folder}/pid; exec sleep 600`]);
    await expect.poll(() => existsSync(join(folder, 'pid')), { timeout: 30_000 }).toBe(true);
    editing.signals.emit('SIGTERM', 'SIGTERM');
    expect(await editing.ended).toMatchObject({ code: 143 });
    expect(() => process.kill(Number(readFileSync(join(folder, 'pid'), 'utf8')), 0)).toThrow('ESRCH');
    expect(existsSync(dirname(editedPath()))).toBe(false);
  });

  it('leaves Ctrl-C to the editor, and ends with 130 if that ends the editor', async () => {
    const step = `while [ ! -e ${folder}/go ]; do sleep 0.05; done; sed -i "s/lastName:.*/lastName: King/" "$1"`;
    const editing = edit([step]);
    await expect.poll(timesOpened, { timeout: 30_000 }).toBe(1);
    for (let times = 0; times < 2; times++) editing.signals.emit('SIGINT', 'SIGINT');
    writeFileSync(join(folder, 'go'), '');
    expect(await editing.ended).toMatchObject({ code: 0, out: expect.stringContaining('Ada King') });
    expect(editing.exits).toEqual([]);

    expect(await edit(['true', 'kill -INT $$']).ended).toEqual({ code: 130, out: '', err: '' });
    expect(existsSync(dirname(editedPath()))).toBe(false);
  });

  it('removes the file if the terminal is closed', async () => {
    const editing = edit([`while [ ! -e ${folder}/go ]; do sleep 0.05; done; exit 1`]);
    await expect.poll(timesOpened, { timeout: 30_000 }).toBe(1);
    editing.signals.emit('SIGHUP', 'SIGHUP');
    expect(editing.exits).toEqual([129]);
    expect(existsSync(dirname(editedPath()))).toBe(false);
    writeFileSync(join(folder, 'go'), '');
    await editing.ended;
  });

  it('ends with 3 if the user does not exist, and with 2 without an editor and a terminal', async () => {
    expect(await edit(['true'], [randomUUID()]).ended).toMatchObject({ code: 3 });
    expect(timesOpened()).toBe(0);
    const env = { ROSTER_ADDRESS: app.address };
    expect(await start(['edit', user.id], { env }).ended).toMatchObject({ code: 2 });
  });
});
