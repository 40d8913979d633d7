/** Tests that each field in the table works in every place, so that a new field is forgotten nowhere. */
import { randomBytes, randomUUID } from 'node:crypto';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { User } from '../generated/users/v1/user.js';
import { addUserFlags, maskOf, parseClear, userOf } from '../src/cli/user-fields.js';
import { filterFields, orderFields, textFields, userFields, writablePaths } from '../src/fields.js';
import { draftOf, exportCells, exportColumns } from '../src/user-files/columns.js';
import { matchHeader, targetsOf } from '../src/user-files/header.js';
import { startTestApp, type TestApp } from './support/app.js';

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app?.[Symbol.asyncDispose]());

/** A value that no other field and no other user has. */
function valueFor(input: (typeof textFields)[number]['input']): string {
  const word = randomBytes(6).toString('hex');
  return { name: word, text: word, email: `${word}@${word}.example`, url: `https://${word}.example` }[input];
}

const someTexts = () => Object.fromEntries(textFields.map(({ name, input }) => [name, valueFor(input)]));

async function create(fields: Partial<User>): Promise<User> {
  const { user } = await app.client.createUser({ user: fields });
  if (user === undefined) throw new Error('The answer has no user.');
  return user;
}

it('are those of the contract', () => {
  expect(userFields.map(({ name }) => name).sort()).toEqual(Object.keys(User.create()).sort());
  for (const { name, path } of userFields) {
    expect(path).toBe(name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  }
});

describe.each(textFields)('$path', (field) => {
  const { name, path, input } = field;
  const isSearched = 'isSearched' in field;
  const isRequired = 'isRequired' in field;

  it('is created, read and imported', async () => {
    const sent = someTexts();
    const user = await create(sent);
    expect(user[name]).toBe(sent[name]);
    expect((await app.client.getUser({ id: user.id })).user).toEqual(user);
    const rows = [{ ...someTexts(), [name]: valueFor(input) }];
    await app.client.importAllUsers(rows);
    const email = String(rows[0]?.email);
    expect((await app.client.getUserByEmail({ email })).user).toMatchObject(rows[0] ?? {});
  });

  it('is updated alone, and cleared unless it is required', async () => {
    const user = await create(someTexts());
    const value = valueFor(input);
    const changed = await app.client.updateUser({ user: { id: user.id, [name]: value }, updateMask: [path] });
    expect(changed.user).toMatchObject({ ...someNames(user), [name]: value });
    const cleared = app.client.updateUser({ user: { id: user.id }, updateMask: [path] });
    if (isRequired) await expect(cleared).rejects.toMatchObject({ reason: 'INVALID_FIELD' });
    else expect((await cleared).user?.[name]).toBe('');
  });

  it('is part of what a repeated create must repeat', async () => {
    const request = { user: someTexts(), requestId: randomUUID() };
    const first = await app.client.createUser(request);
    expect(await app.client.createUser(request)).toEqual(first);
    const other = { ...request, user: { ...request.user, [name]: valueFor(input) } };
    await expect(app.client.createUser(other)).rejects.toMatchObject({ reason: 'REQUEST_ID_REUSED' });
  });

  it(isSearched ? 'is searched' : 'is not searched', async () => {
    const user = await create(someTexts());
    const { users } = await app.client.listUsers({ query: user[name].slice(0, 16) });
    expect(users).toEqual(isSearched ? [user] : []);
  });

  it('is read from and written to flags', async () => {
    const value = valueFor(input);
    const flag = path.replaceAll('_', '-');
    const flags = addUserFlags(new Command())
      .parse([`--${flag}`, value], { from: 'user' })
      .opts();
    expect([userOf(flags), maskOf(flags)]).toEqual([{ [name]: value }, [path]]);
    if (isRequired) expect(() => parseClear(flag)).toThrow();
    else expect(parseClear(flag)).toEqual([path]);
  });
});

function someNames(user: User): Partial<User> {
  return Object.fromEntries(textFields.map(({ name }) => [name, user[name]]));
}

it.each(Object.entries(filterFields))('%s can be filtered by, as a %s', async (path, kind) => {
  const user = await create(someTexts());
  const { name } = userFields.find((field) => field.path === path) ?? { name: 'id' };
  const value = user[name];
  const constant = value instanceof Date ? `timestamp("${value.toISOString()}")` : JSON.stringify(value);
  const { users } = await app.client.listUsers({ filter: `${path} == ${constant} && id == "${user.id}"` });
  expect([kind, users]).toEqual([value instanceof Date ? 'timestamp' : kind, [user]]);
});

it.each(orderFields)('%s orders a list in both directions', async (path) => {
  for (let count = 0; count < 3; count++) await create(someTexts());
  const { name } = userFields.find((field) => field.path === path) ?? { name: 'id' };
  const valuesIn = async (orderBy: string) => {
    const values: (string | number)[] = [];
    for await (const user of app.client.listAllUsers({ orderBy, pageSize: 2 })) {
      const value = user[name];
      values.push(value instanceof Date ? value.getTime() : String(value));
    }
    return values;
  };
  const values = await valuesIn(path);
  expect(values).toEqual(values.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
  expect(await valuesIn(`${path} desc`)).toEqual(values.toReversed());
});

it('an exported file can be imported, with all fields that clients write', async () => {
  const user = await create({ ...someTexts(), attributes: { level: 3 } });
  const columns = matchHeader(exportColumns);
  expect(columns.filter(({ isIgnored }) => !isIgnored).map(({ field }) => field)).toEqual(writablePaths);
  const { user: draft } = draftOf(exportCells(user), targetsOf(columns));
  expect(draft).toEqual({ ...someNames(user), attributes: { level: 3 } });
});
