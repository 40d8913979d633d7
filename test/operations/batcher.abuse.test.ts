import { getEventListeners } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Fault } from '../../src/model/fault.js';
import { type BatcherOptions, createBatcher } from '../../src/operations/batcher.js';
import { GuiltyRowError, holdStatements } from './held-statements.js';

afterEach(() => {
  vi.useRealTimers();
});

/** What a statement gives that the types forbid. */
function givingOutcomes(outcomes: unknown): BatcherOptions<string, string> {
  return { ...holdStatements(), run: async () => outcomes as string[] };
}

describe('bounds', () => {
  it.each([
    ['batchRowsMax', 0],
    ['queueRowsMax', -1],
    ['statementsMax', 1.5],
    ['statementsMax', Number.NaN],
    ['queueRowsMax', Number.POSITIVE_INFINITY],
    ['patienceMs', 2 ** 31],
  ])('of no sense are refused when the batcher is made: %s = %d', (name, bound) => {
    expect(() => createBatcher(holdStatements({ [name]: bound }))).toThrow(new RegExp(`^${name} must be`));
  });
});

describe('a run that misbehaves', () => {
  it.each([
    ['too few outcomes', ['A']],
    ['too many outcomes', ['A', 'B', 'C']],
    ['no outcomes', undefined],
    ['something else of the right length', 'AB'],
  ])('and gives %s fails everybody with a bug, not a fault, and is not run again', async (_, outcomes) => {
    let statements = 0;
    const batcher = createBatcher<string, string>({
      ...givingOutcomes(outcomes),
      mayRunAgain: () => true,
      async run() {
        statements += 1;
        return outcomes as string[];
      },
    });
    const answers = await Promise.allSettled([batcher.submit('a'), batcher.submit('b')]);
    for (const answer of answers) {
      expect(answer).toMatchObject({ status: 'rejected', reason: { message: expect.stringContaining('2 outcomes') } });
      expect(answer).not.toMatchObject({ reason: expect.any(Fault) });
    }
    expect(statements).toBe(1);
  });

  it('and leaves holes in its outcomes answers those calls with undefined', async () => {
    const batcher = createBatcher(givingOutcomes(new Array(2)));
    await expect(Promise.all([batcher.submit('a'), batcher.submit('b')])).resolves.toEqual([undefined, undefined]);
  });

  it('and throws before it has made a promise is a run that failed', async () => {
    const thrown = new Error('no promise');
    const batcher = createBatcher<string, string>({
      ...holdStatements(),
      run() {
        throw thrown;
      },
    });
    await expect(batcher.submit('a')).rejects.toBe(thrown);
    await expect(batcher.submit('b')).rejects.toBe(thrown);
    expect(batcher.inFlight).toBe(0);
  });

  it.each([['a string'], [undefined], [null], [{ code: '23505' }]])(
    'and fails with %o rejects with an Error that holds it as its cause only',
    async (thrown) => {
      const held = holdStatements();
      const batcher = createBatcher(held);
      const answer = batcher.submit('a').catch((error: unknown) => error);
      await turn();
      await held.statements[0]?.fail(thrown);
      const error = await answer;
      expect(error).toBeInstanceOf(Error);
      expect(error).toMatchObject({ message: 'A statement threw a value that is not an Error.', cause: thrown });
    },
  );

  it('and gives a thenable in place of a promise works, even one that settles twice', async () => {
    const batcher = createBatcher<string, string>({
      ...holdStatements(),
      run: (items) =>
        ({
          // biome-ignore lint/suspicious/noThenProperty: a thenable is what this is about
          then(resolve) {
            resolve?.([...items]);
            resolve?.(['twice']);
            throw new Error('and throws');
          },
        }) as PromiseLike<string[]>,
    });
    await expect(batcher.submit('a')).resolves.toBe('a');
  });

  it('and gives a promise as an outcome keeps only that one call waiting', async () => {
    const late = Promise.withResolvers<string>();
    const batcher = createBatcher(givingOutcomes([late.promise, 'B']));
    const a = batcher.submit('a');
    await expect(batcher.submit('b')).resolves.toBe('B');
    await batcher.close();
    late.resolve('A');
    await expect(a).resolves.toBe('A');
  });

  it('and changes the items that it was given changes no answer', async () => {
    const batcher = createBatcher<string, string>({
      ...holdStatements(),
      async run(items) {
        const outcomes = items.map((item) => item.toUpperCase());
        (items as string[]).length = 0;
        return outcomes;
      },
    });
    await expect(Promise.all([batcher.submit('a'), batcher.submit('b')])).resolves.toEqual(['A', 'B']);
  });

  it('and never settles costs its own callers, then its place, then the queue, and never the process', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const held = holdStatements({ statementsMax: 2, queueRowsMax: 2, patienceMs: 20 });
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const answers: Promise<string>[] = [];
    for (const item of ['a', 'b', 'c', 'd']) {
      answers.push(batcher.submit(item, caller.signal));
      await turn();
      vi.advanceTimersByTime(20);
    }
    expect(held.sent).toEqual([['a'], ['b']]);
    await expect(batcher.submit('e')).rejects.toMatchObject({ reason: 'OVERLOADED' });
    caller.abort('late');
    for (const answer of answers) await expect(answer).rejects.toBe('late');
    expect(batcher.queued).toBe(0);
    expect(batcher.inFlight).toBe(2);
  });
});

describe('the other options', () => {
  it('mayRunAgain that throws fails the statement with what it threw', async () => {
    const held = holdStatements({
      mayRunAgain() {
        throw new Error('bug');
      },
    });
    const batcher = createBatcher(held);
    const answers = Promise.allSettled([batcher.submit('a'), batcher.submit('b')]);
    await turn();
    await held.statements[0]?.fail(new GuiltyRowError());
    expect(await answers).toMatchObject([{ reason: { message: 'bug' } }, { reason: { message: 'bug' } }]);
    expect(batcher.inFlight).toBe(0);
  });

  it('keyOf that throws rejects that one call and takes no room', async () => {
    const held = holdStatements({
      queueRowsMax: 1,
      keyOf(item) {
        if (item === 'bad') throw new Error('bug');
        return undefined;
      },
    });
    const batcher = createBatcher(held);
    const signal = new AbortController().signal;
    await expect(batcher.submit('bad', signal)).rejects.toThrow('bug');
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    const good = batcher.submit('good');
    await turn();
    await held.statements[0]?.succeed();
    await expect(good).resolves.toBe('GOOD');
  });

  it('the empty key and names that every object has are keys like others', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    for (const item of [':1', ':2', '__proto__:1', '__proto__:2', 'constructor:1']) batcher.submit(item);
    await turn();
    expect(held.sent).toEqual([[':1', '__proto__:1', 'constructor:1']]);
  });

  it('when every row is guilty each call gets its own error, in 2n - 1 statements', async () => {
    let statements = 0;
    const batcher = createBatcher<number, number>({
      ...holdStatements(),
      keyOf: undefined,
      async run(items) {
        statements += 1;
        throw new GuiltyRowError(`rows ${items}`);
      },
    });
    const answers = await Promise.allSettled(Array.from({ length: 64 }, (_, item) => batcher.submit(item)));
    for (const [item, answer] of answers.entries()) {
      expect(answer).toMatchObject({ status: 'rejected', reason: { message: `rows ${item}` } });
    }
    expect(statements).toBe(2 * 64 - 1);
  });
});

describe('signals', () => {
  it('that are aborted already reject without a statement, whatever the reason is', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    for (const reason of [new Error('gone'), 'a string', null]) {
      const answer = batcher.submit('a', AbortSignal.abort(reason)).then(
        () => 'answered',
        (thrown: unknown) => ({ thrown }),
      );
      expect(await answer).toEqual({ thrown: reason });
    }
    await turn();
    expect(held.sent).toEqual([]);
    expect(batcher.queued).toBe(0);
  });

  it('that live on keep nothing of a call, however it ended', async () => {
    const held = holdStatements({ queueRowsMax: 5 });
    const batcher = createBatcher(held);
    const { signal } = new AbortController();
    const listeners = () => getEventListeners(signal, 'abort').length;
    const answers = Promise.allSettled(['a', 'b', 'guilty', 'd'].map((item) => batcher.submit(item, signal)));
    expect(listeners()).toBe(4);
    await turn();
    await held.statements[0]?.fail(new GuiltyRowError());
    await held.statements[1]?.succeed(['A', new Error('its own')]);
    expect(listeners()).toBe(2);
    await held.statements[2]?.fail(new Error('lost'));
    await answers;
    expect(listeners()).toBe(0);

    const full = ['a', 'b', 'c', 'd', 'e'].map((item) => batcher.submit(item, signal));
    await expect(batcher.submit('f', signal)).rejects.toMatchObject({ reason: 'OVERLOADED' });
    expect(listeners()).toBe(5);
    const closed = batcher.close();
    await expect(batcher.submit('g', signal)).rejects.toMatchObject({ reason: 'SERVER_STOPPING' });
    await turn();
    await held.statements[3]?.succeed();
    await Promise.all([...full, closed]);
    expect(listeners()).toBe(0);
  });

  it('shared by calls in every state answer all of them at once, and once', async () => {
    const held = holdStatements({ batchRowsMax: 3 });
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const items = ['k:1', 'b', 'c', 'k:2', 'k:3', 'f', 'k:4'];
    const answers = Promise.allSettled(items.map((item) => batcher.submit(item, caller.signal)));
    await turn();
    expect(held.sent).toEqual([['k:1', 'b', 'c']]);
    caller.abort();
    expect(batcher.queued).toBe(0);
    for (const answer of await answers) expect(answer).toEqual({ status: 'rejected', reason: caller.signal.reason });
    expect(getEventListeners(caller.signal, 'abort')).toHaveLength(0);
    const last = batcher.submit('k:5');
    await held.statements[0]?.succeed();
    await held.statements[1]?.succeed();
    await expect(last).resolves.toBe('K:5');
    expect(held.sent).toEqual([['k:1', 'b', 'c'], ['k:5']]);
  });

  it('that abort in the turn of their submit leave no statement behind', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const gone = expect(batcher.submit('a', caller.signal)).rejects.toBe('gone');
    caller.abort('gone');
    await gone;
    await turn();
    expect(held.sent).toEqual([]);
    await batcher.close();
  });
});

describe('calls from within', () => {
  it('a run, for the same key too, go into a later statement', async () => {
    const within: Promise<string>[] = [];
    const sent: string[][] = [];
    const batcher = createBatcher<string, string>({
      ...holdStatements(),
      async run(items) {
        sent.push([...items]);
        if (sent.length === 1) within.push(batcher.submit('k:2'), batcher.submit('b'));
        return items;
      },
    });
    await expect(batcher.submit('k:1')).resolves.toBe('k:1');
    await expect(Promise.all(within)).resolves.toEqual(['k:2', 'b']);
    expect(sent).toEqual([['k:1'], ['k:2', 'b']]);
  });

  it('an answer’s continuation and an abort’s listener are calls like others', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const caller = new AbortController();
    let third: Promise<string> | undefined;
    caller.signal.addEventListener('abort', () => {
      third = batcher.submit('k:3');
    });
    const second = batcher.submit('k:1').then(() => batcher.submit('b'));
    const gone = expect(batcher.submit('k:2', caller.signal)).rejects.toBeDefined();
    await turn();
    caller.abort();
    await gone;
    await held.statements[0]?.succeed();
    await held.statements[1]?.succeed();
    await held.statements[2]?.succeed();
    await expect(Promise.all([second, third])).resolves.toEqual(['B', 'K:3']);
    expect(held.sent).toEqual([['k:1'], ['k:3'], ['b']]);
  });

  it('a run that aborts its own callers finds the neighbours unharmed', async () => {
    const caller = new AbortController();
    const batcher = createBatcher<string, string>({
      ...holdStatements({ batchRowsMax: 2 }),
      async run(items) {
        caller.abort('gone');
        return items;
      },
    });
    const answers = ['a', 'b', 'c', 'd'].map((item, index) =>
      batcher.submit(item, index % 2 === 0 ? caller.signal : undefined),
    );
    expect(await Promise.allSettled(answers)).toEqual([
      { status: 'rejected', reason: 'gone' },
      { status: 'fulfilled', value: 'b' },
      { status: 'rejected', reason: 'gone' },
      { status: 'fulfilled', value: 'd' },
    ]);
  });
});

// Seconds as it is. A search past the waiting calls of a busy key is 5 * 10^9 steps in each of these: minutes.
describe('100,000 calls of one key', () => {
  const crowd = Array.from({ length: 100_000 }, (_, index) => `k:${index}`);

  it('are run one by one, in order, and hold up nobody behind them', async () => {
    let statements = 0;
    let otherWasIn = 0;
    const batcher = createBatcher<string, string>({
      ...holdStatements({ queueRowsMax: crowd.length + 1 }),
      async run(items) {
        statements += 1;
        if (items.includes('other')) otherWasIn = statements;
        return items;
      },
    });
    const order: string[] = [];
    const answers = crowd.map((item) => batcher.submit(item).then((outcome) => order.push(outcome)));
    await batcher.submit('other');
    await Promise.all(answers);
    expect(otherWasIn).toBe(1);
    expect(statements).toBe(crowd.length);
    expect(order.every((item, index) => item === crowd[index])).toBe(true);
  });

  it('among as many others may all be aborted, and leave the others in order', async () => {
    const held = holdStatements({ queueRowsMax: 2 * crowd.length, batchRowsMax: crowd.length });
    const batcher = createBatcher(held);
    const callers = crowd.map(() => new AbortController());
    const others: string[] = [];
    let rejections = 0;
    for (const [index, item] of crowd.entries()) {
      batcher.submit(item, callers[index]?.signal).catch(() => {
        rejections += 1;
      });
      others.push(`${index}`);
      batcher.submit(`${index}`);
    }
    for (const caller of callers) caller.abort('gone');
    await turn();
    expect(rejections).toBe(crowd.length);
    expect(batcher.queued).toBe(0);
    expect(held.sent.length).toBe(1);
    expect(held.sent[0]?.every((item, index) => item === others[index])).toBe(true);
  });
});

describe('close', () => {
  it('at rest resolves, as often as it is called', async () => {
    const batcher = createBatcher(holdStatements());
    await Promise.all([batcher.close(), batcher.close()]);
    await batcher.close();
    await expect(batcher.submit('a')).rejects.toMatchObject({ reason: 'SERVER_STOPPING' });
  });

  it('while the queue is full sends all that waits, halves included', async () => {
    const held = holdStatements({ queueRowsMax: 2, batchRowsMax: 2 });
    const batcher = createBatcher(held);
    const answers = ['a', 'b'].map((item) => batcher.submit(item));
    await turn();
    answers.push(batcher.submit('k:1'), batcher.submit('k:2'));
    const closed = batcher.close();
    await held.statements[0]?.fail(new GuiltyRowError());
    for (let index = 1; index < 5; index += 1) await held.statements[index]?.succeed();
    await closed;
    expect(held.sent).toEqual([['a', 'b'], ['a'], ['b'], ['k:1'], ['k:2']]);
    await expect(Promise.all(answers)).resolves.toEqual(['A', 'B', 'K:1', 'K:2']);
  });

  it('resolves when the last call that waited has gone', async () => {
    const batcher = createBatcher(holdStatements());
    const caller = new AbortController();
    const gone = expect(batcher.submit('a', caller.signal)).rejects.toBe('gone');
    const closed = batcher.close();
    caller.abort('gone');
    await closed;
    await gone;
  });
});
