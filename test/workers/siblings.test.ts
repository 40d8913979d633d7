/** What workers tell each other of their writes, over a channel in memory and with a clock of the test's own. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FromSibling } from '../../src/workers/messages.js';
import { createRelay, createSiblings } from '../../src/workers/siblings.js';
import type { WorkerEnd } from '../../src/workers/worker-process.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** One that serves. */
async function join(relay: ReturnType<typeof createRelay>) {
  const said: string[] = [];
  const ended = Promise.withResolvers<WorkerEnd>();
  let heard = 0;
  let pass: (message: FromSibling) => void = () => {};
  const siblings = createSiblings((message) => {
    said.push(message.type);
    pass(message);
  });
  siblings.onWrote(() => void heard++);
  relay.add({
    serving: Promise.resolve(),
    ended: ended.promise,
    onSay: (listener) => {
      pass = listener;
    },
    say: siblings.hear,
  });
  await Promise.resolve();
  return {
    siblings,
    said,
    heard: () => heard,
    end: async () => {
      ended.resolve({ exitCode: undefined, signal: 'SIGKILL', error: undefined, servedMs: 0 });
      await Promise.resolve();
    },
  };
}

describe('workers among each other', () => {
  it('say nothing of writes while nobody watches elsewhere', async () => {
    const relay = createRelay();
    const [one, other] = [await join(relay), await join(relay)];
    one.siblings.wrote();
    one.siblings.watched(true);
    one.siblings.wrote();
    expect(one.said).toEqual(['watched']);
    expect(other.heard()).toBe(0);
  });

  it('hear of writes while they are watched, and one that comes later, too', async () => {
    const relay = createRelay();
    const watched = await join(relay);
    watched.siblings.watched(true);
    const writer = await join(relay);
    const idle = await join(relay);
    writer.siblings.wrote();
    expect([watched.heard(), writer.heard(), idle.heard()]).toEqual([1, 0, 0]);

    watched.siblings.watched(false);
    vi.advanceTimersByTime(1_000);
    writer.siblings.wrote();
    expect(watched.heard()).toBe(1);
  });

  it('are not told of watchers who have gone with their worker', async () => {
    const relay = createRelay();
    const [watched, writer] = [await join(relay), await join(relay)];
    watched.siblings.watched(true);
    await watched.end();
    writer.siblings.wrote();
    expect(writer.said).toEqual([]);
  });

  it('hear of many writes at once and of the last, and not of each', async () => {
    const relay = createRelay();
    const [watched, writer] = [await join(relay), await join(relay)];
    watched.siblings.watched(true);
    for (let count = 0; count < 100; count++) writer.siblings.wrote();
    expect(watched.heard()).toBe(1);
    vi.advanceTimersByTime(10);
    expect(watched.heard()).toBe(2);
    vi.advanceTimersByTime(1_000);
    expect(watched.heard()).toBe(2);
    writer.siblings.wrote();
    expect(watched.heard()).toBe(3);
  });
});
