/** ResolveUsers over the wire, on the whole application. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { User } from '../../generated/users/v1/user.js';
import { createClient } from '../../src/client/index.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { someFields } from '../support/open-database.js';

const waitOptions = { timeout: 30_000 };
const missing = '01890A5D-AC96-774B-BCCE-B302099A8058';

let app: TestApp;
let users: User[];
beforeAll(async () => {
  app = await startTestApp();
  ({ users } = await app.client.batchCreateUsers({ users: Array.from({ length: 1000 }, () => someFields()) }));
});
afterAll(() => app?.[Symbol.asyncDispose]());

const userAt = (index: number): User => users[index % users.length] as User;

/** A stream of requests that a test sends one by one. */
function openRequests() {
  const requests: { tag?: string; ids?: string[]; emails?: string[] }[] = [];
  let wake = () => {};
  let ended = false;
  return {
    send(request: { tag?: string; ids?: string[]; emails?: string[] }) {
      requests.push(request);
      wake();
    },
    end() {
      ended = true;
      wake();
    },
    async *[Symbol.asyncIterator]() {
      while (true) {
        const next = requests.shift();
        if (next !== undefined) yield next;
        else if (ended) return;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    },
  };
}

describe('a stream of lookups', () => {
  it('finds a user by each spelling of an email', async () => {
    const { user } = await app.client.createUser({ user: { ...someFields(), email: 'straße@bücher.example' } });
    const requests = openRequests();
    requests.send({ emails: ['STRASSE@xn--bcher-kva.example', 'strasse@BÜCHER.EXAMPLE', 'strase@bücher.example'] });
    requests.end();
    const [answer] = await Array.fromAsync(app.client.resolveUsers(requests));
    expect(answer).toMatchObject({ users: [user, user], missingEmails: ['strase@bücher.example'] });
  });

  it('is answered one by one while it stays open', async () => {
    const requests = openRequests();
    const answers = app.client.resolveUsers(requests)[Symbol.asyncIterator]();
    for (let index = 0; index < 20; index++) {
      requests.send({ tag: `${index}`, ids: [userAt(index).id] });
      expect((await answers.next()).value).toEqual({
        tag: `${index}`,
        users: [userAt(index)],
        missingIds: [],
        missingEmails: [],
      });
    }
    requests.end();
    expect((await answers.next()).done).toBe(true);
  });

  it('has users in the order of ids and then of emails, and missing ones as they were written', async () => {
    const [a, b] = [userAt(1), userAt(2)];
    const requests = openRequests();
    requests.send({ ids: [b.id.toUpperCase(), missing, a.id, b.id, missing] });
    requests.send({ ids: [a.id], emails: ['Nobody@x', b.email.toUpperCase(), 'nobody@X', 'no email', a.email] });
    requests.send({});
    requests.end();
    expect(await Array.fromAsync(app.client.resolveUsers(requests))).toEqual([
      { tag: '', users: [b, a, b], missingIds: [missing, missing], missingEmails: [] },
      { tag: '', users: [a, b, a], missingIds: [], missingEmails: ['Nobody@x', 'nobody@X', 'no email'] },
      { tag: '', users: [], missingIds: [], missingEmails: [] },
    ]);
  });

  it('keeps the order over thousands of requests', async () => {
    const requests = openRequests();
    for (let index = 0; index < 3000; index++) requests.send({ tag: `${index}`, ids: [userAt(index).id] });
    requests.end();
    let index = 0;
    for await (const { tag, users } of app.client.resolveUsers(requests)) {
      expect([tag, users[0]?.id]).toEqual([`${index}`, userAt(index).id]);
      index++;
    }
    expect(index).toBe(3000);
  });

  it.each([
    ['ids[1]', { ids: [missing, 'x'] }],
    ['emails[0]', { emails: ['\0'] }],
    ['tag', { tag: 'x'.repeat(257) }],
    ['ids', { ids: Array.from({ length: 1001 }, () => missing) }],
  ])('ends with INVALID_ARGUMENT for bad %s, after the responses to all earlier requests', async (field, bad) => {
    const requests = openRequests();
    for (let index = 0; index < 10; index++) requests.send({ tag: `${index}`, ids: [userAt(index).id] });
    requests.send(bad);
    const tags: string[] = [];
    await expect(
      (async () => {
        for await (const { tag } of app.client.resolveUsers(requests)) tags.push(tag);
      })(),
    ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD', violations: [{ field }] });
    expect(tags).toEqual(Array.from({ length: 10 }, (_, index) => `${index}`));
  });

  it('ends with MESSAGE_TOO_LARGE if a response is larger than the limit', async () => {
    const fields = someFields({ attributes: { text: 'x'.repeat(16_000) } });
    const { user } = await app.client.createUser({ user: fields });
    const requests = openRequests();
    requests.send({ tag: 'small', ids: [missing] });
    requests.send({ tag: 'large', ids: Array.from({ length: 1000 }, () => user?.id ?? '') });
    requests.send({ tag: 'later', ids: [missing] });
    const tags: string[] = [];
    await expect(
      (async () => {
        for await (const { tag } of app.client.resolveUsers(requests)) tags.push(tag);
      })(),
    ).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'MESSAGE_TOO_LARGE' });
    expect(tags).toEqual(['small']);
  });

  it('is not read while its client reads nothing, and does not affect other streams', async () => {
    let taken = 0;
    const ids = users.slice(0, 100).map(({ id }) => id);
    const all = 1000;
    const answers = app.client
      .resolveUsers(
        (async function* () {
          for (; taken < all; taken++) yield { tag: `${taken}`, ids };
        })(),
      )
      [Symbol.asyncIterator]();
    await answers.next();
    // Wait until the server reads nothing more, even while another stream completes.
    const others = async () => {
      const requests = openRequests();
      for (let index = 0; index < 500; index++) requests.send({ ids: [userAt(index).id] });
      requests.end();
      expect(await Array.fromAsync(app.client.resolveUsers(requests))).toHaveLength(500);
    };
    for (let before = -1; before !== taken; ) {
      before = taken;
      await others();
    }
    expect(taken).toBeLessThan(all / 2);
    let answered = 1;
    while (!(await answers.next()).done) answered++;
    expect([answered, taken]).toEqual([all, all]);
  });

  it('ends on the server if its client disconnects', async () => {
    const caller = new AbortController();
    const requests = openRequests();
    const answers = app.client.resolveUsers(requests, { signal: caller.signal })[Symbol.asyncIterator]();
    requests.send({ ids: [missing] });
    await answers.next();
    const answer = answers.next();
    const ended = () => app.lines.filter(({ method }) => String(method).endsWith('/ResolveUsers')).length;
    const before = ended();
    caller.abort();
    await expect(answer).rejects.toThrow(/abort/i);
    await vi.waitFor(() => expect(ended()).toBe(before + 1), waitOptions);
    expect(app.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  it('ends with SERVER_STOPPING at a shutdown', async () => {
    const stopping = await startTestApp();
    const requests = openRequests();
    // Do not use the application's own client, which it closes first.
    using client = createClient({ address: stopping.address });
    const answers = client.resolveUsers(requests)[Symbol.asyncIterator]();
    requests.send({ tag: 'first' });
    expect((await answers.next()).value?.tag).toBe('first');
    const failed = expect(answers.next()).rejects.toMatchObject({ code: 'UNAVAILABLE', reason: 'SERVER_STOPPING' });
    await stopping[Symbol.asyncDispose]();
    await failed;
  });
});
