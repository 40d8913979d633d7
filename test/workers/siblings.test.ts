/** Write notifications between workers, over an in-memory channel and with fake timers. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { FromSibling } from '../../src/workers/messages.js';
import { createRelay, createSiblings } from '../../src/workers/siblings.js';
import type { WorkerEnd } from '../../src/workers/worker-process.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Adds a serving worker to the relay. */
async function join(relay: ReturnType<typeof createRelay>) {
  const sent: string[] = [];
  const ended = Promise.withResolvers<WorkerEnd>();
  let notified = 0;
  let listen: (message: FromSibling) => void = () => {};
  const siblings = createSiblings((message) => {
    sent.push(message.type);
    listen(message);
  });
  siblings.onWrite(() => void notified++);
  relay.add({
    serving: Promise.resolve(),
    ended: ended.promise,
    onSiblingMessage: (listener) => {
      listen = listener;
    },
    send: siblings.receive,
  });
  await Promise.resolve();
  return {
    siblings,
    sent,
    notifications: () => notified,
    end: async () => {
      ended.resolve({ exitCode: undefined, signal: 'SIGKILL', error: undefined, servedMs: 0 });
      await Promise.resolve();
    },
  };
}

describe('sibling workers', () => {
  it('do not report writes while no other worker has watchers', async () => {
    const relay = createRelay();
    const [one, other] = [await join(relay), await join(relay)];
    one.siblings.notifyWrite();
    one.siblings.notifyWatched(true);
    one.siblings.notifyWrite();
    expect(one.sent).toEqual(['watched']);
    expect(other.notifications()).toBe(0);
  });

  it('are notified of writes while they have watchers, also of writes in a worker that starts later', async () => {
    const relay = createRelay();
    const watched = await join(relay);
    watched.siblings.notifyWatched(true);
    const writer = await join(relay);
    const idle = await join(relay);
    writer.siblings.notifyWrite();
    expect([watched.notifications(), writer.notifications(), idle.notifications()]).toEqual([1, 0, 0]);

    watched.siblings.notifyWatched(false);
    vi.advanceTimersByTime(1_000);
    writer.siblings.notifyWrite();
    expect(watched.notifications()).toBe(1);
  });

  it('do not report writes after the worker with the watchers has exited', async () => {
    const relay = createRelay();
    const [watched, writer] = [await join(relay), await join(relay)];
    watched.siblings.notifyWatched(true);
    await watched.end();
    writer.siblings.notifyWrite();
    expect(writer.sent).toEqual([]);
  });

  it('are notified of the first and the last of many writes, but not of each one', async () => {
    const relay = createRelay();
    const [watched, writer] = [await join(relay), await join(relay)];
    watched.siblings.notifyWatched(true);
    for (let count = 0; count < 100; count++) writer.siblings.notifyWrite();
    expect(watched.notifications()).toBe(1);
    vi.advanceTimersByTime(10);
    expect(watched.notifications()).toBe(2);
    vi.advanceTimersByTime(1_000);
    expect(watched.notifications()).toBe(2);
    writer.siblings.notifyWrite();
    expect(watched.notifications()).toBe(3);
  });
});
