/**
 * Tests the promises of users.v1 to its clients. It checks only answers, so that the same suite runs over every
 * transport.
 */
import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type User, UserChange_Type } from '../../src/client/index.js';
import type { CallingClient } from '../support/gateway-client.js';

const nobody = '01890000-0000-7000-8000-000000000000';

let people = 0;
function person(fields: Partial<User> = {}): Partial<User> {
  people++;
  return { firstName: 'Ada', lastName: 'Lovelace', email: `Ada.${people}.${randomUUID()}@Example.com`, ...fields };
}

async function refusal(call: Promise<unknown>): Promise<{ code: string; reason?: string; fields: string[] }> {
  try {
    await call;
  } catch (error) {
    const { code, reason, violations } = error as { code: string; reason: string; violations: { field: string }[] };
    return { code, reason, fields: violations.map(({ field }) => field) };
  }
  throw new Error('The call succeeded.');
}

export function describeContract(transport: string, client: () => CallingClient): void {
  async function create(fields: Partial<User> = {}): Promise<User> {
    const { user } = await client().createUser({ user: person(fields) });
    if (user === undefined) throw new Error('The answer has no user.');
    return user;
  }
  const get = async (id: string) => (await client().getUser({ id })).user;

  describe(`users.v1 through ${transport}`, () => {
    describe('CreateUser', () => {
      it('returns the user as written, with the fields that the server sets', async () => {
        const sent = person({
          profileImageUrl: 'https://img.example.com/a.png?x=1#y',
          attributes: {
            department: 'ops',
            level: 3,
            nested: { list: [1, 'two', null, true, { deep: [] }] },
            '': 'empty key',
          },
        });
        const { user } = await client().createUser({ user: sent });
        expect(user).toMatchObject(sent);
        expect(user?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
        expect(user?.displayName).toBe('Ada Lovelace');
        expect(user?.createTime).toBeInstanceOf(Date);
        expect(user?.updateTime).toEqual(user?.createTime);
        expect(user?.etag).not.toBe('');
        expect(await get(user?.id ?? '')).toEqual(user);
      });

      it('returns text byte for byte', async () => {
        const odd = ['\u0065\u0301 \u00e9', '👩‍👩‍👧‍👦 %_\\ \'"$1:p0', 'İıßſ', '日本語', '{"a":1}', '  padded  '];
        for (const text of odd) {
          const user = await create({ firstName: text, lastName: text, attributes: { [text]: text } });
          expect(await get(user.id)).toMatchObject({ firstName: text, lastName: text, attributes: { [text]: text } });
        }
      });

      it('keeps an attribute with the key __proto__, at every level', async () => {
        const entries = (user: User | undefined) => JSON.stringify(Object.entries(user?.attributes ?? {}).sort());
        const user = await create({ attributes: JSON.parse('{"__proto__":[{"__proto__":1}],"a":{"__proto__":"b"}}') });
        expect(entries(user)).toBe('[["__proto__",[{"__proto__":1}]],["a",{"__proto__":"b"}]]');
        const attributes = JSON.parse('{"__proto__":{"c":2},"a":{"__proto__":"b"}}');
        const { user: updated } = await client().updateUser({
          user: { id: user.id, attributes },
          updateMask: ['attributes'],
        });
        expect(entries(updated)).toBe('[["__proto__",{"c":2}],["a",{"__proto__":"b"}]]');
        expect(entries(await get(user.id))).toBe(entries(updated));
      });

      it('ignores output-only fields', async () => {
        const user = await create({
          id: nobody,
          displayName: 'X',
          etag: 'x',
          createTime: new Date(0),
          updateTime: new Date(0),
        });
        expect(user.id).not.toBe(nobody);
        expect(user.displayName).toBe('Ada Lovelace');
        expect(user.createTime?.getTime()).toBeGreaterThan(0);
      });

      it('uses a single name as the display name', async () => {
        expect((await create({ lastName: '' })).displayName).toBe('Ada');
      });

      it('leaves empty attributes unset', async () => {
        expect((await create({ attributes: {} })).attributes).toBeUndefined();
      });

      it('returns -0 in attributes as 0', async () => {
        const user = await create({ attributes: { zeros: [-0] } });
        expect(user.attributes).toStrictEqual({ zeros: [0] });
        expect(await get(user.id)).toStrictEqual(user);
      });

      it('counts characters as code points', async () => {
        const user = await create({ firstName: '🦊'.repeat(256) });
        expect((await get(user.id))?.firstName).toBe('🦊'.repeat(256));
        expect(await refusal(create({ firstName: '🦊'.repeat(257) }))).toMatchObject({ fields: ['user.first_name'] });
      });

      it('names every invalid field at once', async () => {
        const user = {
          firstName: ' ',
          lastName: 'x'.repeat(257),
          email: 'Ada <a@b>',
          profileImageUrl: 'ftp://x',
          // Not NaN, which is invalid too, because JSON cannot express it.
          attributes: { a: 'x'.repeat(20_000) },
        };
        expect(await refusal(client().createUser({ user, requestId: 'no uuid' }))).toEqual({
          code: 'INVALID_ARGUMENT',
          reason: 'INVALID_FIELD',
          fields: [
            'user.first_name',
            'user.last_name',
            'user.email',
            'user.profile_image_url',
            'user.attributes',
            'request_id',
          ],
        });
        expect(await refusal(client().createUser({}))).toMatchObject({ fields: ['user'] });
      });

      it('refuses an email that differs only in case or composition', async () => {
        const { email } = await create({ email: `\u00e9.${randomUUID()}@Example.com` });
        for (const same of [email, email.toUpperCase(), email.normalize('NFD')]) {
          expect(await refusal(create({ email: same }))).toMatchObject({
            code: 'ALREADY_EXISTS',
            reason: 'EMAIL_TAKEN',
          });
        }
      });

      it('creates one user for calls with one request id', async () => {
        const request = { user: person({ attributes: { a: 1, b: 2 } }), requestId: randomUUID() };
        const again = { ...request, user: { ...request.user, attributes: { b: 2, a: 1 } } };
        const answers = await Promise.all([request, again, request, again].map((each) => client().createUser(each)));
        expect(new Set(answers.map(({ user }) => user?.id)).size).toBe(1);
        expect(await refusal(client().createUser({ ...request, user: person() }))).toEqual({
          code: 'INVALID_ARGUMENT',
          reason: 'REQUEST_ID_REUSED',
          fields: ['request_id'],
        });
        const id = answers[0]?.user?.id ?? '';
        await client().updateUser({ user: { id, firstName: 'Grace' } });
        expect((await client().createUser(request)).user?.firstName).toBe('Grace');
        await client().deleteUser({ id });
        expect(await refusal(client().createUser(request))).toMatchObject({ reason: 'USER_NOT_FOUND' });
      });

      it('does not use up the request id of a call that failed', async () => {
        const taken = await create();
        const requestId = randomUUID();
        expect(await refusal(client().createUser({ user: person({ email: taken.email }), requestId }))).toMatchObject({
          reason: 'EMAIL_TAKEN',
        });
        expect((await client().createUser({ user: person(), requestId })).user?.id).toBeTruthy();
      });
    });

    describe('GetUser and GetUserByEmail', () => {
      it('read ids in either case', async () => {
        const user = await create();
        expect(await get(user.id.toUpperCase())).toEqual(user);
      });

      it('find an email in any case and composition', async () => {
        const user = await create({ email: `\u00c9.${randomUUID()}@example.com` });
        for (const email of [user.email.toLowerCase(), user.email.normalize('NFD')]) {
          expect((await client().getUserByEmail({ email })).user).toEqual(user);
        }
      });

      it('find one user by all spellings of an email, in upper case and with either form of the domain', async () => {
        const tag = randomUUID();
        const user = await create({ email: `straße.ΑΣ.${tag}@bücher.example` });
        const others = [user.email.toUpperCase(), `STRASSE.ας.${tag}@xn--bcher-kva.example`];
        const ids = ({ users }: { users: User[] }) => users.map(({ id }) => id);
        for (const email of others) {
          expect((await client().getUserByEmail({ email })).user?.id).toBe(user.id);
          for (const filter of [`email == "${email}"`, `email in ["${email}"]`, `email.startsWith("${email}")`]) {
            expect(ids(await client().listUsers({ filter }))).toEqual([user.id]);
          }
          expect(await refusal(client().createUser({ user: person({ email }) }))).toMatchObject({
            reason: 'EMAIL_TAKEN',
          });
          expect(await refusal(client().batchCreateUsers({ users: [person(), person({ email })] }))).toEqual({
            code: 'ALREADY_EXISTS',
            reason: 'EMAIL_TAKEN',
            fields: ['users[1].email'],
          });
          const { user: updated } = await client().updateUser({ user: { id: user.id, email }, updateMask: ['email'] });
          expect(updated?.email).toBe(email);
        }
        await client().deleteUser({ id: user.id });
        const twice = others.map((email) => person({ email }));
        expect(await refusal(client().batchCreateUsers({ users: twice }))).toMatchObject({
          fields: ['users[1].email'],
        });
        expect((await client().createUser({ user: twice[0] })).user).toBeDefined();
      });

      it('distinguish a malformed id from one that no user has', async () => {
        expect(await refusal(get('123'))).toEqual({
          code: 'INVALID_ARGUMENT',
          reason: 'INVALID_FIELD',
          fields: ['id'],
        });
        expect(await refusal(get(nobody))).toMatchObject({ code: 'NOT_FOUND', reason: 'USER_NOT_FOUND' });
        expect(await refusal(client().getUserByEmail({ email: 'nobody' }))).toMatchObject({ code: 'NOT_FOUND' });
        for (const email of ['', 'x'.repeat(257), 'a\0b']) {
          expect(await refusal(client().getUserByEmail({ email }))).toMatchObject({ fields: ['email'] });
        }
      });
    });

    describe('UpdateUser', () => {
      it('writes only the fields in the mask', async () => {
        const user = await create({ attributes: { a: 1, b: 2 }, profileImageUrl: 'http://x.org/' });
        const { user: updated } = await client().updateUser({
          user: { id: user.id, firstName: 'Grace', lastName: 'ignored', attributes: { b: 3, c: { d: 4 } } },
          updateMask: ['first_name', 'attributes.a', 'attributes.c', 'profile_image_url'],
        });
        expect(updated).toMatchObject({
          firstName: 'Grace',
          lastName: 'Lovelace',
          profileImageUrl: '',
          attributes: { b: 2, c: { d: 4 } },
        });
        expect(updated?.etag).not.toBe(user.etag);
        expect(updated?.createTime).toEqual(user.createTime);
        expect(updated?.updateTime?.getTime()).toBeGreaterThan(user.updateTime?.getTime() ?? 0);
        expect(await get(user.id)).toEqual(updated);
      });

      it('writes the set fields if the mask is empty, and all fields if it is *', async () => {
        const user = await create({ attributes: { a: 1 } });
        const { user: first } = await client().updateUser({ user: { id: user.id, lastName: 'King' } });
        expect(first).toMatchObject({ firstName: 'Ada', lastName: 'King', attributes: { a: 1 } });
        const { user: second } = await client().updateUser({
          user: { id: user.id, firstName: 'Grace', email: user.email },
          updateMask: ['*'],
        });
        expect(second).toMatchObject({ firstName: 'Grace', lastName: '', email: user.email, attributes: undefined });
      });

      it('does not write if nothing changes', async () => {
        const user = await create({ attributes: { a: [1, 2] } });
        const { id, firstName, lastName, email, attributes } = user;
        for (const updateMask of [['*'], ['first_name', 'attributes.a'], []]) {
          const answer = await client().updateUser({
            user: { id, firstName, lastName, email, attributes },
            updateMask,
          });
          expect(answer.user).toEqual(user);
        }
      });

      it('accepts the current etag, and refuses any other', async () => {
        const user = await create();
        const update = (etag: string, firstName: string) =>
          client().updateUser({ user: { id: user.id, etag, firstName } });
        const { user: updated } = await update(user.etag, 'Grace');
        expect(await refusal(update(user.etag, 'Eve'))).toMatchObject({ code: 'ABORTED', reason: 'ETAG_MISMATCH' });
        expect(await refusal(update('nonsense', 'Eve'))).toMatchObject({ code: 'ABORTED', reason: 'ETAG_MISMATCH' });
        expect(await get(user.id)).toEqual(updated);
      });

      it('accepts one of many updates with the same etag', async () => {
        const user = await create();
        const names = Array.from({ length: 20 }, (_, index) => `Name ${index}`);
        const answers = await Promise.allSettled(
          names.map((firstName) => client().updateUser({ user: { id: user.id, etag: user.etag, firstName } })),
        );
        expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      });

      it('loses no attributes when many clients write different keys at once', async () => {
        const user = await create();
        const keys = Array.from({ length: 20 }, (_, index) => `key.${index}`);
        await Promise.all(
          keys.map((key) =>
            client().updateUser({
              user: { id: user.id, attributes: { [key]: key } },
              updateMask: [`attributes.${key}`],
            }),
          ),
        );
        expect((await get(user.id))?.attributes).toEqual(Object.fromEntries(keys.map((key) => [key, key])));
      });

      it('keeps the attributes within their limits', async () => {
        const user = await create({ attributes: { a: 'x'.repeat(16_000) } });
        const update = client().updateUser({
          user: { id: user.id, attributes: { b: 'y'.repeat(1_000) } },
          updateMask: ['attributes.b'],
        });
        expect(await refusal(update)).toMatchObject({ code: 'INVALID_ARGUMENT', fields: ['user.attributes'] });
      });

      it('refuses a taken email, and accepts a new spelling of the own email', async () => {
        const [ada, grace] = [await create(), await create()];
        const update = (email: string) => client().updateUser({ user: { id: grace.id, email } });
        expect(await refusal(update(ada.email.toUpperCase()))).toMatchObject({
          code: 'ALREADY_EXISTS',
          reason: 'EMAIL_TAKEN',
        });
        expect((await update(grace.email.toUpperCase())).user?.email).toBe(grace.email.toUpperCase());
      });

      it('names every invalid path and field at once', async () => {
        const user = await create();
        expect(
          await refusal(
            client().updateUser({
              user: { id: user.id, firstName: '', email: 'no address' },
              updateMask: ['first_name', 'id', 'email', 'nonsense', '*'],
            }),
          ),
        ).toEqual({
          code: 'INVALID_ARGUMENT',
          reason: 'INVALID_FIELD',
          fields: [
            'update_mask.paths[1]',
            'update_mask.paths[3]',
            'update_mask.paths[4]',
            'user.first_name',
            'user.email',
          ],
        });
        expect(await refusal(client().updateUser({ user: { id: nobody, firstName: 'X' } }))).toMatchObject({
          code: 'NOT_FOUND',
        });
      });
    });

    describe('DeleteUser', () => {
      it('deletes a user once', async () => {
        const user = await create();
        expect(await refusal(client().deleteUser({ id: user.id, etag: 'old' }))).toMatchObject({
          reason: 'ETAG_MISMATCH',
        });
        await client().deleteUser({ id: user.id, etag: user.etag });
        expect(await refusal(get(user.id))).toMatchObject({ code: 'NOT_FOUND' });
        expect(await refusal(client().deleteUser({ id: user.id }))).toMatchObject({
          code: 'NOT_FOUND',
          reason: 'USER_NOT_FOUND',
        });
        await client().deleteUser({ id: user.id, etag: 'whatever', allowMissing: true });
        expect((await create({ email: user.email })).id).not.toBe(user.id);
      });
    });

    describe('ListUserChanges', () => {
      const changesOf = async (id: string, pageSize = 0, pageToken = '') =>
        client().listUserChanges({ id, pageSize, pageToken });

      it('returns the changes, the newest first, with the id of the user and of the call', async () => {
        const { id } = await create();
        await client().updateUser({ user: { id, lastName: 'King' }, updateMask: ['last_name'] });
        await client().deleteUser({ id });
        const { changes } = await changesOf(id);
        expect(changes.map(({ type }) => UserChange_Type[type])).toEqual([
          'TYPE_DELETED',
          'TYPE_UPDATED',
          'TYPE_CREATED',
        ]);
        for (const change of changes) {
          expect(change.user).toMatchObject({ id, email: '', firstName: '' });
          expect(change.changeTime?.getTime()).toBeGreaterThan(0);
          expect(change.requestId).not.toBe('');
          // The server is open to everyone.
          expect(change.actor).toBe('');
        }
        expect(new Set(changes.map(({ requestId }) => requestId)).size).toBe(3);
      });

      it('returns pages, and an empty list for an unknown user', async () => {
        const { id } = await create();
        await client().updateUser({ user: { id, lastName: 'King' }, updateMask: ['last_name'] });
        const first = await changesOf(id, 1);
        expect(first.changes).toMatchObject([{ type: UserChange_Type.TYPE_UPDATED }]);
        const last = await changesOf(id, 1, first.nextPageToken);
        expect(last).toMatchObject({ changes: [{ type: UserChange_Type.TYPE_CREATED }], nextPageToken: '' });
        expect(await changesOf(nobody)).toMatchObject({ changes: [], nextPageToken: '' });
      });

      it('refuses invalid requests', async () => {
        expect(await refusal(changesOf('x', -1))).toMatchObject({ fields: ['id', 'page_size'] });
        expect(await refusal(changesOf(nobody, 0, 'x'))).toMatchObject({ reason: 'INVALID_PAGE_TOKEN' });
      });
    });

    describe('BatchGetUsers', () => {
      it('returns users in the order of the request, and lists missing ids separately', async () => {
        const [ada, grace] = [await create(), await create()];
        const { users, missingIds } = await client().batchGetUsers({
          ids: [grace.id, nobody, ada.id.toUpperCase(), grace.id],
        });
        expect(users).toEqual([grace, ada, grace]);
        expect(missingIds).toEqual([nobody]);
        expect(await client().batchGetUsers({})).toMatchObject({ users: [], missingIds: [] });
      });

      it('refuses more than 1000 ids, and names malformed ids by their index', async () => {
        const ids = Array.from({ length: 1001 }, () => nobody);
        expect(await refusal(client().batchGetUsers({ ids }))).toMatchObject({ fields: ['ids'] });
        expect((await client().batchGetUsers({ ids: ids.slice(1) })).missingIds).toHaveLength(1000);
        expect(await refusal(client().batchGetUsers({ ids: [nobody, 'x', nobody, ''] }))).toMatchObject({
          fields: ['ids[1]', 'ids[3]'],
        });
      });
    });

    describe('BatchCreateUsers', () => {
      it('creates all users, in order', async () => {
        const sent = Array.from({ length: 1000 }, () => person());
        const { users } = await client().batchCreateUsers({ users: sent });
        expect(users.map(({ email }) => email)).toEqual(sent.map(({ email }) => email));
        expect((await client().batchGetUsers({ ids: users.map(({ id }) => id) })).users).toEqual(users);
        expect((await client().batchCreateUsers({})).users).toEqual([]);
      });

      it('creates no user if one is invalid, and names every invalid field', async () => {
        const users = Array.from({ length: 60 }, () => person());
        users[7] = person({ firstName: '' });
        users[57] = person({ email: 'x', profileImageUrl: 'y' });
        expect(await refusal(client().batchCreateUsers({ users }))).toEqual({
          code: 'INVALID_ARGUMENT',
          reason: 'INVALID_FIELD',
          fields: ['users[7].first_name', 'users[57].email', 'users[57].profile_image_url'],
        });
        expect(await refusal(client().getUserByEmail({ email: users[0]?.email }))).toMatchObject({ code: 'NOT_FOUND' });
        expect(
          await refusal(client().batchCreateUsers({ users: Array.from({ length: 1001 }, () => person()) })),
        ).toMatchObject({
          fields: ['users'],
        });
      });

      it('creates no user if an email is taken, and names each user with a taken email', async () => {
        const taken = await create();
        const [ada, grace] = [person(), person()];
        const users = [
          ada,
          person({ email: taken.email.toUpperCase() }),
          grace,
          person({ email: ada.email?.toUpperCase() }),
        ];
        expect(await refusal(client().batchCreateUsers({ users }))).toEqual({
          code: 'ALREADY_EXISTS',
          reason: 'EMAIL_TAKEN',
          fields: ['users[1].email', 'users[3].email'],
        });
        expect(await refusal(client().getUserByEmail({ email: grace.email }))).toMatchObject({ code: 'NOT_FOUND' });
      });

      it('creates no user if the answer would be too large', async () => {
        // The answer contains each name twice, alone and in the display name.
        const [firstName, lastName] = ['🦊'.repeat(256), '🐻'.repeat(256)];
        const users = Array.from({ length: 1000 }, () => person({ firstName, lastName }));
        expect(await refusal(client().batchCreateUsers({ users }))).toMatchObject({
          code: 'RESOURCE_EXHAUSTED',
          reason: 'MESSAGE_TOO_LARGE',
        });
        expect(await refusal(client().getUserByEmail({ email: users[0]?.email }))).toMatchObject({ code: 'NOT_FOUND' });
      });

      it('creates one batch for calls with one request id', async () => {
        const request = { users: [person(), person()], requestId: randomUUID() };
        const answers = await Promise.all([1, 2, 3].map(() => client().batchCreateUsers(request)));
        expect(new Set(answers.flatMap(({ users }) => users.map(({ id }) => id))).size).toBe(2);
        const other = { ...request, users: [person()] };
        expect(await refusal(client().batchCreateUsers(other))).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
      });
    });

    describe('ListUsers', () => {
      const marker = `List${randomUUID().slice(0, 8)}`;
      const query = marker;

      it('returns each user once in the pages of every order', async () => {
        const users = Array.from({ length: 25 }, (_, index) =>
          person({ firstName: `${marker} ${'ABC'[index % 3]}`, lastName: ['z', 'Z', 'ä', '', '🦊'][index % 5] }),
        );
        await client().batchCreateUsers({ users });
        const orders = ['create_time', 'update_time', 'first_name', 'last_name', 'email'].flatMap((field) => [
          field,
          `${field} desc`,
        ]);
        for (const orderBy of [...orders, '', ' last_name desc , first_name', 'first_name,last_name desc,email desc']) {
          const seen: User[] = [];
          for await (const user of client().listAllUsers({ query, orderBy, pageSize: 4 })) seen.push(user);
          expect(new Set(seen.map(({ id }) => id)).size, orderBy).toBe(25);
          expect(seen, orderBy).toHaveLength(25);
          const { users: whole } = await client().listUsers({ query, orderBy });
          expect(seen, orderBy).toEqual(whole);
        }
        const { users: byName } = await client().listUsers({ query, orderBy: 'last_name desc' });
        const names = byName.map(({ lastName }) => lastName);
        expect(names).toEqual(names.toSorted((a, b) => Buffer.compare(Buffer.from(b), Buffer.from(a))));
      });

      it('counts all pages only if requested', async () => {
        expect((await client().listUsers({ query, pageSize: 3, includeTotalSize: true })).totalSize).toBe(25);
        expect((await client().listUsers({ query, pageSize: 3 })).totalSize).toBeUndefined();
      });

      it('filters, and searches for every word in any case', async () => {
        const { users } = await client().listUsers({
          query: `${marker.toLowerCase()} b`,
          filter: 'last_name != "z"',
          pageSize: 1000,
        });
        expect(users.length).toBeGreaterThan(0);
        for (const user of users) expect(user.lastName).not.toBe('z');
        expect((await client().listUsers({ query: `${marker} %` })).users).toEqual([]);
      });

      it('searches without accents and apostrophes, and for an id', async () => {
        const word = `x${randomUUID().slice(0, 8)}`;
        const names = ['Müller', 'Wiśniewski', 'Nguyễn', 'Großmann', 'Søren', 'O’Brien', "O'Brien"];
        const users = names.map((name) => person({ firstName: word, lastName: name }));
        const created = (await client().batchCreateUsers({ users })).users;
        const found = async (text: string) => (await client().listUsers({ query: text })).users;
        for (const [index, name] of ['muller', 'wisniewski', 'nguyen', 'grossmann', 'soren'].entries()) {
          expect(await found(`${word} ${name}`), name).toEqual([created[index]]);
        }
        for (const name of ['obrien', "o'brien", 'o’brien']) {
          expect(await found(`${word} ${name}`), name).toEqual(created.slice(-2));
        }
        const id = created[0]?.id ?? '';
        for (const text of [id, ` ${id.toUpperCase()} `]) expect(await found(text)).toEqual([created[0]]);
        expect(await found(`${id} ${created[1]?.id}`)).toEqual([]);
      });

      it('has pages of 50 by default and 1000 at most, and no token on the last page', async () => {
        const { users, nextPageToken } = await client().listUsers({});
        expect(users).toHaveLength(50);
        expect(nextPageToken).not.toBe('');
        expect((await client().listUsers({ pageSize: 2_000_000_000 })).users.length).toBe(1000);
        expect((await client().listUsers({ query, pageSize: 25 })).nextPageToken).toBe('');
      });

      it('refuses each kind of invalid request with its own reason', async () => {
        const list = (request: Parameters<CallingClient['listUsers']>[0]) => refusal(client().listUsers(request));
        expect(await list({ pageSize: -1 })).toMatchObject({ reason: 'INVALID_FIELD', fields: ['page_size'] });
        expect(await list({ query: 'x'.repeat(257) })).toMatchObject({ reason: 'INVALID_FIELD', fields: ['query'] });
        for (const orderBy of ['nonsense', 'email, email', 'email up', 'email;drop table users', ',']) {
          expect(await list({ orderBy }), orderBy).toMatchObject({ reason: 'INVALID_ORDER_BY', fields: ['order_by'] });
        }
        for (const filter of [
          '(',
          'nonsense == 1',
          'first_name == 1',
          '"a" == "a"',
          'size(email) > 3',
          '('.repeat(2048),
        ]) {
          expect(await list({ filter }), filter).toMatchObject({ reason: 'INVALID_FILTER', fields: ['filter'] });
        }
        const { nextPageToken } = await client().listUsers({ query, pageSize: 3 });
        expect(await list({ pageToken: nextPageToken })).toMatchObject({
          reason: 'INVALID_PAGE_TOKEN',
          fields: ['page_token'],
        });
        expect(await list({ query, pageToken: nextPageToken, orderBy: 'email' })).toMatchObject({
          reason: 'INVALID_PAGE_TOKEN',
        });
        expect(await list({ query, pageToken: `${nextPageToken}A` })).toMatchObject({ reason: 'INVALID_PAGE_TOKEN' });
        expect(await list({ pageSize: -1, filter: '(', orderBy: 'x' })).toMatchObject({
          reason: 'INVALID_FILTER',
          fields: ['page_size', 'filter', 'order_by'],
        });
      });
    });
  });
}
