/** Connections at their limit of calls, whose clients cancel calls and at once start others. */
import { expect, it } from 'vitest';
import { startTestApp } from '../support/app.js';
import { someFields } from '../support/open-database.js';

// The number of calls that the client has open at the same time.
const limit = 64;

/** Starts watches, and resolves after each has received a message. The controller cancels all of them. */
async function begin(count: number, watch: (signal: AbortSignal) => AsyncIterable<unknown>): Promise<AbortController> {
  const cancelling = new AbortController();
  const watches = Array.from({ length: count }, () => watch(cancelling.signal)[Symbol.asyncIterator]());
  await Promise.all(watches.map((messages) => messages.next()));
  return cancelling;
}

it('over gRPC, fail none of the others', async () => {
  await using app = await startTestApp({ CONCURRENT_STREAMS_MAX: String(limit) });
  const id = (await app.client.createUser({ user: someFields() })).user?.id ?? '';
  for (let round = 0; round < 5; round++) {
    const cancelling = await begin(8, (signal) => app.client.watchUsers({}, { signal }));
    cancelling.abort();
    const found = await Promise.all(Array.from({ length: limit - 8 }, () => app.client.getUser({ id })));
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
    const cancelling = await begin(90, async function* (signal) {
      yield* (await post('WatchUsers', 'application/connect+json', '\0\0\0\0\x02{}', signal)).body ?? [];
    });
    cancelling.abort();
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => post('GetUser', 'application/json', JSON.stringify({ id }))),
    );
    expect(answers.filter(({ ok }) => !ok)).toEqual([]);
  }
});
