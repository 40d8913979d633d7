import { getEventListeners } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { type BatcherOptions, createBatcher } from '../../src/concurrency/batcher.js';
import { Fault } from '../../src/model/fault.js';
import { GuiltyRowError, holdStatements } from '../operations/held-statements.js';

afterEach(() => {
  vi.useRealTimers();
});

/** Returns outcomes that the types forbid. */
function returningOutcomes(outcomes: unknown): BatcherOptions<string, string> {
  return { ...holdStatements(), run: async () => outcomes as string[] };
}

describe('bounds', () => {
  it.each([
    ['batchRowsMax', 0],
    ['queueRowsMax', -1],
    ['statementsMax', 1.5],
    ['statementsMax', Number.NaN],
    ['queueRowsMax', Number.POSITIVE_INFINITY],
    ['slowStatementMs', 2 ** 31],
  ])('that are invalid are rejected when the batcher is created: %s = %d', (name, bound) => {
    expect(() => createBatcher(holdStatements({ [name]: bound }))).toThrow(new RegExp(`^${name} must be`));
  });
});

describe('a run that misbehaves', () => {
  it.each([
    ['too few outcomes', ['A']],
    ['too many outcomes', ['A', 'B', 'C']],
    ['no outcomes', undefined],
    ['something else of the right length', 'AB'],
  ])('and returns %s fails all its calls with a bug, not a fault, and does not run again', async (_, outcomes) => {
    let statements = 0;
    const batcher = createBatcher<string, string>({
      ...returningOutcomes(outcomes),
      isRetryable: () => true,
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

  it('and returns a sparse array answers those calls with undefined', async () => {
    const batcher = createBatcher(returningOutcomes(new Array(2)));
    await expect(Promise.all([batcher.submit('a'), batcher.submit('b')])).resolves.toEqual([undefined, undefined]);
  });

  it('and throws synchronously counts as failed', async () => {
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
    'and rejects with %o rejects the call with an Error whose cause is that value',
    async (thrown) => {
      const held = holdStatements();
      const batcher = createBatcher(held);
      const answer = batcher.submit('a').catch((error: unknown) => error);
      await nextTurn();
      await held.statements[0]?.fail(thrown);
      const error = await answer;
      expect(error).toBeInstanceOf(Error);
      expect(error).toMatchObject({ message: 'A statement threw a value that is not an Error.', cause: thrown });
    },
  );

  it('and returns a thenable instead of a promise works, even if it settles twice', async () => {
    const batcher = createBatcher<string, string>({
      ...holdStatements(),
      run: (items) =>
        ({
          // biome-ignore lint/suspicious/noThenProperty: this test needs a thenable
          then(resolve) {
            resolve?.([...items]);
            resolve?.(['twice']);
            throw new Error('and throws');
          },
        }) as PromiseLike<string[]>,
    });
    await expect(batcher.submit('a')).resolves.toBe('a');
  });

  it('and returns a promise as an outcome delays only that one call', async () => {
    const late = Promise.withResolvers<string>();
    const batcher = createBatcher(returningOutcomes([late.promise, 'B']));
    const a = batcher.submit('a');
    await expect(batcher.submit('b')).resolves.toBe('B');
    await batcher.close();
    late.resolve('A');
    await expect(a).resolves.toBe('A');
  });

  it('and changes its items does not change the answers', async () => {
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

  it('and never settles fills its slots and then the queue, but does not block the process', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const held = holdStatements({ statementsMax: 2, queueRowsMax: 2, slowStatementMs: 20 });
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const answers: Promise<string>[] = [];
    for (const item of ['a', 'b', 'c', 'd']) {
      answers.push(batcher.submit(item, caller.signal));
      await nextTurn();
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
  it('isRetryable that throws fails the statement with that error', async () => {
    const held = holdStatements({
      isRetryable() {
        throw new Error('bug');
      },
    });
    const batcher = createBatcher(held);
    const answers = Promise.allSettled([batcher.submit('a'), batcher.submit('b')]);
    await nextTurn();
    await held.statements[0]?.fail(new GuiltyRowError());
    expect(await answers).toMatchObject([{ reason: { message: 'bug' } }, { reason: { message: 'bug' } }]);
    expect(batcher.inFlight).toBe(0);
  });

  it('keyOf that throws rejects that one call and takes no space in the queue', async () => {
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
    await nextTurn();
    await held.statements[0]?.succeed();
    await expect(good).resolves.toBe('GOOD');
  });

  it('the empty key and names of Object.prototype work like other keys', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    for (const item of [':1', ':2', '__proto__:1', '__proto__:2', 'constructor:1']) batcher.submit(item);
    await nextTurn();
    expect(held.sent).toEqual([[':1', '__proto__:1', 'constructor:1']]);
  });

  it('if every row fails, each call gets its own error, in 2n - 1 statements', async () => {
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
  it('that are already aborted reject without a statement, for any reason', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    for (const reason of [new Error('gone'), 'a string', null]) {
      const answer = batcher.submit('a', AbortSignal.abort(reason)).then(
        () => 'answered',
        (thrown: unknown) => ({ thrown }),
      );
      expect(await answer).toEqual({ thrown: reason });
    }
    await nextTurn();
    expect(held.sent).toEqual([]);
    expect(batcher.queued).toBe(0);
  });

  it('that outlive a call keep no reference to it, however it ended', async () => {
    const held = holdStatements({ queueRowsMax: 5 });
    const batcher = createBatcher(held);
    const { signal } = new AbortController();
    const listeners = () => getEventListeners(signal, 'abort').length;
    const answers = Promise.allSettled(['a', 'b', 'guilty', 'd'].map((item) => batcher.submit(item, signal)));
    expect(listeners()).toBe(4);
    await nextTurn();
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
    await nextTurn();
    await held.statements[3]?.succeed();
    await Promise.all([...full, closed]);
    expect(listeners()).toBe(0);
  });

  it('that are shared by calls in every state reject all of them at once, and only once', async () => {
    const held = holdStatements({ batchRowsMax: 3 });
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const items = ['k:1', 'b', 'c', 'k:2', 'k:3', 'f', 'k:4'];
    const answers = Promise.allSettled(items.map((item) => batcher.submit(item, caller.signal)));
    await nextTurn();
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

  it('that abort in the same turn as their submit cause no statement', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const gone = expect(batcher.submit('a', caller.signal)).rejects.toBe('gone');
    caller.abort('gone');
    await gone;
    await nextTurn();
    expect(held.sent).toEqual([]);
    await batcher.close();
  });
});

describe('calls from within', () => {
  it('a run go into a later statement, also for the same key', async () => {
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

  it('the continuation of an answer and an abort listener work like other calls', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const caller = new AbortController();
    let third: Promise<string> | undefined;
    caller.signal.addEventListener('abort', () => {
      third = batcher.submit('k:3');
    });
    const second = batcher.submit('k:1').then(() => batcher.submit('b'));
    const gone = expect(batcher.submit('k:2', caller.signal)).rejects.toBeDefined();
    await nextTurn();
    caller.abort();
    await gone;
    await held.statements[0]?.succeed();
    await held.statements[1]?.succeed();
    await held.statements[2]?.succeed();
    await expect(Promise.all([second, third])).resolves.toEqual(['B', 'K:3']);
    expect(held.sent).toEqual([['k:1'], ['k:3'], ['b']]);
  });

  it('a run that aborts its own calls does not affect the other calls', async () => {
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

// Takes seconds. With a search past the waiting calls of a busy key, each test would take 5 * 10^9 steps, which is minutes.
describe('100,000 calls of one key', () => {
  const crowd = Array.from({ length: 100_000 }, (_, index) => `k:${index}`);

  it('run one by one, in order, and do not delay other calls', async () => {
    let statements = 0;
    let otherStatement = 0;
    const batcher = createBatcher<string, string>({
      ...holdStatements({ queueRowsMax: crowd.length + 1 }),
      async run(items) {
        statements += 1;
        if (items.includes('other')) otherStatement = statements;
        return items;
      },
    });
    const order: string[] = [];
    const answers = crowd.map((item) => batcher.submit(item).then((outcome) => order.push(outcome)));
    await batcher.submit('other');
    await Promise.all(answers);
    expect(otherStatement).toBe(1);
    expect(statements).toBe(crowd.length);
    expect(order.every((item, index) => item === crowd[index])).toBe(true);
  });

  it('among as many others can all be aborted, and leave the others in order', async () => {
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
    await nextTurn();
    expect(rejections).toBe(crowd.length);
    expect(batcher.queued).toBe(0);
    expect(held.sent.length).toBe(1);
    expect(held.sent[0]?.every((item, index) => item === others[index])).toBe(true);
  });
});

describe('close', () => {
  it('of an idle batcher resolves, even if it is called several times', async () => {
    const batcher = createBatcher(holdStatements());
    await Promise.all([batcher.close(), batcher.close()]);
    await batcher.close();
    await expect(batcher.submit('a')).rejects.toMatchObject({ reason: 'SERVER_STOPPING' });
  });

  it('while the queue is full sends all waiting calls, including halves', async () => {
    const held = holdStatements({ queueRowsMax: 2, batchRowsMax: 2 });
    const batcher = createBatcher(held);
    const answers = ['a', 'b'].map((item) => batcher.submit(item));
    await nextTurn();
    answers.push(batcher.submit('k:1'), batcher.submit('k:2'));
    const closed = batcher.close();
    await held.statements[0]?.fail(new GuiltyRowError());
    for (let index = 1; index < 5; index += 1) await held.statements[index]?.succeed();
    await closed;
    expect(held.sent).toEqual([['a', 'b'], ['a'], ['b'], ['k:1'], ['k:2']]);
    await expect(Promise.all(answers)).resolves.toEqual(['A', 'B', 'K:1', 'K:2']);
  });

  it('resolves when the last waiting call is cancelled', async () => {
    const batcher = createBatcher(holdStatements());
    const caller = new AbortController();
    const gone = expect(batcher.submit('a', caller.signal)).rejects.toBe('gone');
    const closed = batcher.close();
    caller.abort('gone');
    await closed;
    await gone;
  });
});
