import { describe, expect, it } from 'vitest';
import { createTurns } from '../../src/operations/turns.js';

const { signal } = new AbortController();

/** Work that lasts until it is let go, and says when it has begun. */
function heldWork(begun: string[], name: string) {
  const { promise, resolve } = Promise.withResolvers<string>();
  return {
    work: () => {
      begun.push(name);
      return promise;
    },
    letGo: () => resolve(name),
  };
}

/** Everything that is settled now has been told. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('turns', () => {
  it('let so much begin at once for each key, and the rest in order of arrival', async () => {
    const turns = createTurns({ atOnceMax: 2, waitingMax: 10 });
    const begun: string[] = [];
    const works = ['a', 'b', 'c', 'd'].map((name) => heldWork(begun, name));
    const taken = works.map(({ work }) => turns.take('x', work, signal));
    const other = heldWork(begun, 'other');
    const takenOther = turns.take('y', other.work, signal);
    await settle();
    expect(begun).toEqual(['a', 'b', 'other']);
    works[1]?.letGo();
    expect(await taken[1]).toBe('b');
    await settle();
    expect(begun).toEqual(['a', 'b', 'other', 'c']);
    for (const { letGo } of works) letGo();
    other.letGo();
    expect(await Promise.all([...taken, takenOther])).toEqual(['a', 'b', 'c', 'd', 'other']);
    expect(begun).toEqual(['a', 'b', 'other', 'c', 'd']);
  });

  it('go on after work that fails', async () => {
    const turns = createTurns({ atOnceMax: 1, waitingMax: 10 });
    const failing = turns.take('x', () => Promise.reject(new Error('failed')), signal);
    const next = turns.take('x', async () => 'next', signal);
    await expect(failing).rejects.toThrow('failed');
    expect(await next).toBe('next');
    expect(await turns.take('x', async () => 'later', signal)).toBe('later');
  });

  it('are not waited for by whose signal is aborted, and his work is not done', async () => {
    const turns = createTurns({ atOnceMax: 1, waitingMax: 10 });
    const begun: string[] = [];
    const [held, left, stays] = ['held', 'left', 'stays'].map((name) => heldWork(begun, name));
    const abort = new AbortController();
    const takenHeld = turns.take('x', held?.work ?? Promise.reject, signal);
    const takenLeft = turns.take('x', left?.work ?? Promise.reject, abort.signal);
    const takenStays = turns.take('x', stays?.work ?? Promise.reject, signal);
    abort.abort(new Error('gone'));
    await expect(takenLeft).rejects.toThrow('gone');
    await expect(turns.take('x', async () => '', abort.signal)).rejects.toThrow('gone');
    held?.letGo();
    stays?.letGo();
    expect(await Promise.all([takenHeld, takenStays])).toEqual(['held', 'stays']);
    expect(begun).toEqual(['held', 'stays']);
  });

  it('refuse who comes when too many wait, and take him when fewer do', async () => {
    const turns = createTurns({ atOnceMax: 1, waitingMax: 2 });
    const begun: string[] = [];
    const works = ['a', 'b', 'c'].map((name) => heldWork(begun, name));
    const taken = works.map(({ work }) => turns.take('x', work, signal));
    await expect(turns.take('x', async () => '', signal)).rejects.toMatchObject({ reason: 'OVERLOADED' });
    works[0]?.letGo();
    await taken[0];
    const late = turns.take('x', async () => 'late', signal);
    for (const { letGo } of works) letGo();
    expect(await late).toBe('late');
  });
});
