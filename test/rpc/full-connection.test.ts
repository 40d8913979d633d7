/** Connections with as many calls as they take, whose callers give up calls and make others in the same moment. */
import { expect, it } from 'vitest';
import { startTestApp } from '../support/app.js';
import { someFields } from '../support/open-database.js';

const limit = 8;

/** Resolves when each of so many watches has heard something; the controller gives all of them up. */
async function begin(count: number, watch: (signal: AbortSignal) => AsyncIterable<unknown>): Promise<AbortController> {
  const leaving = new AbortController();
  const watches = Array.from({ length: count }, () => watch(leaving.signal)[Symbol.asyncIterator]());
  await Promise.all(watches.map((messages) => messages.next()));
  return leaving;
}

it('over gRPC, fail none of the others', async () => {
  await using app = await startTestApp({ CONCURRENT_STREAMS_MAX: String(limit) });
  const id = (await app.client.createUser({ user: someFields() })).user?.id ?? '';
  for (let round = 0; round < 5; round++) {
    const leaving = await begin(limit - 1, (signal) => app.client.watchUsers({}, { signal }));
    leaving.abort();
    const found = await Promise.all(Array.from({ length: 5 * limit }, () => app.client.getUser({ id })));
    expect(found.every(({ user }) => user?.id === id)).toBe(true);
  }
});

it('over the gateway, fail none of the others, and wait for no limit of one connection', async () => {
  await using app = await startTestApp({ CONCURRENT_STREAMS_MAX: '1' });
  const id = (await app.client.createUser({ user: someFields() })).user?.id ?? '';
  const post = (method: string, type: string, body: string, signal: AbortSignal | null = null): Promise<Response> =>
    fetch(`${app.http}/users.v1.UserService/${method}`, {
      method: 'POST',
      headers: { 'content-type': type },
      body,
      signal,
    });
  for (let round = 0; round < 2; round++) {
    const leaving = await begin(90, async function* (signal) {
      yield* (await post('WatchUsers', 'application/connect+json', '\0\0\0\0\x02{}', signal)).body ?? [];
    });
    leaving.abort();
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => post('GetUser', 'application/json', JSON.stringify({ id }))),
    );
    expect(answers.filter(({ ok }) => !ok)).toEqual([]);
  }
});
