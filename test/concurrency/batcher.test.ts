import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createBatcher } from '../../src/concurrency/batcher.js';
import { Fault } from '../../src/model/fault.js';
import { GuiltyRowError, holdStatements } from '../operations/held-statements.js';

afterEach(() => {
  vi.useRealTimers();
});

function useFakeTimeouts(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
}

describe('an idle batcher', () => {
  it('sends a call in the event loop turn in which it was submitted', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const a = batcher.submit('a');
    await nextTurn();
    expect(held.sent).toEqual([['a']]);
    expect(batcher.queued).toBe(0);
    expect(batcher.inFlight).toBe(1);
    await held.statements[0]?.succeed();
    await expect(a).resolves.toBe('A');
    expect(batcher.inFlight).toBe(0);
  });

  it('sends the calls of one event loop turn in one statement, even if they are several ticks apart', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    batcher.submit('a');
    process.nextTick(() => batcher.submit('b'));
    Promise.resolve()
      .then(() => Promise.resolve())
      .then(() => process.nextTick(() => batcher.submit('c')));
    await nextTurn();
    expect(held.sent).toEqual([['a', 'b', 'c']]);
  });

  it('caches nothing', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    for (const outcome of ['first', 'second']) {
      const answer = batcher.submit('a');
      await nextTurn();
      await held.statements.at(-1)?.succeed([outcome]);
      await expect(answer).resolves.toBe(outcome);
    }
  });
});

describe('while a statement is in flight', () => {
  it('the next calls wait and share a statement when it settles', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    batcher.submit('a');
    await nextTurn();
    batcher.submit('b');
    await nextTurn();
    batcher.submit('c');
    await nextTurn();
    expect(held.sent).toEqual([['a']]);
    expect(batcher.queued).toBe(2);
    await held.statements[0]?.succeed();
    expect(held.sent).toEqual([['a'], ['b', 'c']]);
  });

  it('the next statement is sent before the continuations of its answers run', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const a = batcher.submit('a');
    await nextTurn();
    batcher.submit('b');
    const sentByThen = a.then(() => held.sent.length);
    await held.statements[0]?.succeed();
    await expect(sentByThen).resolves.toBe(2);
  });

  it('no statement has more rows than allowed, and calls are sent in order of arrival', async () => {
    const held = holdStatements({ batchRowsMax: 2 });
    const batcher = createBatcher(held);
    const answers = ['a', 'b', 'c', 'd', 'e'].map((item) => batcher.submit(item));
    await nextTurn();
    for (let index = 0; index < 3; index += 1) await held.statements[index]?.succeed();
    expect(held.sent).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
    await expect(Promise.all(answers)).resolves.toEqual(['A', 'B', 'C', 'D', 'E']);
  });

  it('a call is rejected if the queue is full, until there is space again', async () => {
    const held = holdStatements({ queueRowsMax: 2 });
    const batcher = createBatcher(held);
    batcher.submit('a');
    await nextTurn();
    batcher.submit('b');
    batcher.submit('c');
    const refusal = await batcher.submit('d').catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(Fault);
    expect(refusal).toMatchObject({ reason: 'OVERLOADED' });
    await held.statements[0]?.succeed();
    const e = batcher.submit('e');
    await held.statements[1]?.succeed();
    await held.statements[2]?.succeed();
    await expect(e).resolves.toBe('E');
    expect(held.sent).toEqual([['a'], ['b', 'c'], ['e']]);
  });
});

describe('items of several rows', () => {
  it('count by their rows, and an item that is larger than a statement is sent alone', async () => {
    const held = holdStatements({ batchRowsMax: 3 });
    const batcher = createBatcher({ ...held, rowsOf: (item) => item.length });
    for (const item of ['a', 'bb', 'c', 'dddd', '', 'ee', 'ff']) batcher.submit(item);
    await nextTurn();
    for (let sent = 0; sent < held.statements.length; sent++) await held.statements[sent]?.succeed();
    expect(held.sent).toEqual([['a', 'bb'], ['c'], ['dddd'], ['', 'ee'], ['ff']]);
  });
});

describe('a statement that runs for longer than slowStatementMs', () => {
  it('no longer delays the next one, up to statementsMax', async () => {
    useFakeTimeouts();
    const held = holdStatements({ statementsMax: 2, slowStatementMs: 20 });
    const batcher = createBatcher(held);
    batcher.submit('a');
    await nextTurn();
    batcher.submit('b');
    vi.advanceTimersByTime(19);
    await nextTurn();
    expect(held.sent).toEqual([['a']]);
    vi.advanceTimersByTime(1);
    expect(held.sent).toEqual([['a'], ['b']]);
    batcher.submit('c');
    vi.advanceTimersByTime(1000);
    await nextTurn();
    expect(held.sent).toEqual([['a'], ['b']]);
    expect(batcher.inFlight).toBe(2);
    await held.statements[1]?.succeed();
    expect(held.sent).toEqual([['a'], ['b'], ['c']]);
  });

  it('does not delay a later call', async () => {
    useFakeTimeouts();
    const held = holdStatements({ statementsMax: 2, slowStatementMs: 20 });
    const batcher = createBatcher(held);
    batcher.submit('a');
    await nextTurn();
    vi.advanceTimersByTime(20);
    batcher.submit('b');
    await nextTurn();
    expect(held.sent).toEqual([['a'], ['b']]);
  });

  it('keeps its keys', async () => {
    useFakeTimeouts();
    const held = holdStatements({ statementsMax: 2, slowStatementMs: 20 });
    const batcher = createBatcher(held);
    batcher.submit('k:1');
    await nextTurn();
    batcher.submit('k:2');
    batcher.submit('b');
    vi.advanceTimersByTime(20);
    expect(held.sent).toEqual([['k:1'], ['b']]);
    await held.statements[1]?.succeed();
    expect(held.sent).toHaveLength(2);
    await held.statements[0]?.succeed();
    expect(held.sent).toEqual([['k:1'], ['b'], ['k:2']]);
  });

  it('frees the keys of a finished half while the other half is stuck', async () => {
    useFakeTimeouts();
    const held = holdStatements({ statementsMax: 2, slowStatementMs: 20 });
    const batcher = createBatcher(held);
    const first = batcher.submit('k:1');
    batcher.submit('stuck');
    await nextTurn();
    batcher.submit('k:2');
    await held.statements[0]?.fail(new GuiltyRowError());
    vi.advanceTimersByTime(20);
    await held.statements[1]?.succeed();
    await first;
    expect(held.sent).toEqual([['k:1', 'stuck'], ['k:1'], ['k:2'], ['stuck']]);
  });
});

describe('calls of one key', () => {
  it('never share a statement and are sent in order of arrival', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const answers = ['k:1', 'k:2', 'k:3'].map((item) => batcher.submit(item));
    await nextTurn();
    for (let index = 0; index < 3; index += 1) await held.statements[index]?.succeed();
    expect(held.sent).toEqual([['k:1'], ['k:2'], ['k:3']]);
    await expect(Promise.all(answers)).resolves.toEqual(['K:1', 'K:2', 'K:3']);
  });

  it('do not delay other keys', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    for (const item of ['k:1', 'k:2', 'a', 'k:3', 'l:1', 'b']) batcher.submit(item);
    await nextTurn();
    expect(held.sent).toEqual([['k:1', 'a', 'l:1', 'b']]);
  });

  it('keep their order of arrival among all calls', async () => {
    const held = holdStatements({ batchRowsMax: 2 });
    const batcher = createBatcher(held);
    for (const item of ['k:1', 'l:1', 'a', 'k:2', 'b', 'l:2', 'c', 'd']) batcher.submit(item);
    await nextTurn();
    for (let index = 0; index < 4; index += 1) await held.statements[index]?.succeed();
    expect(held.sent).toEqual([
      ['k:1', 'l:1'],
      ['a', 'k:2'],
      ['b', 'l:2'],
      ['c', 'd'],
    ]);
  });

  it('wait for a call in flight even if it was cancelled', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const gone = batcher.submit('k:1', caller.signal);
    batcher.submit('k:2');
    await nextTurn();
    caller.abort();
    await expect(gone).rejects.toBe(caller.signal.reason);
    await nextTurn();
    expect(held.sent).toEqual([['k:1']]);
    await held.statements[0]?.succeed();
    expect(held.sent).toEqual([['k:1'], ['k:2']]);
  });
});

describe('outcomes', () => {
  it('belong to their own call, whether they are good or bad', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const answers = Promise.allSettled(['a', 'b', 'c'].map((item) => batcher.submit(item)));
    await nextTurn();
    const taken = new Fault('EMAIL_TAKEN', 'Another user has this email.');
    await held.statements[0]?.succeed(['A', taken, 'C']);
    expect(await answers).toEqual([
      { status: 'fulfilled', value: 'A' },
      { status: 'rejected', reason: taken },
      { status: 'fulfilled', value: 'C' },
    ]);
  });

  it('of a failed statement that may have written are its error for all calls, and nothing runs again', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const answers = Promise.allSettled(['a', 'b'].map((item) => batcher.submit(item)));
    await nextTurn();
    const lost = new Error('connection lost');
    await held.statements[0]?.fail(lost);
    expect(await answers).toEqual([
      { status: 'rejected', reason: lost },
      { status: 'rejected', reason: lost },
    ]);
    expect(held.sent).toHaveLength(1);
  });
});

describe('a failed statement that wrote nothing', () => {
  it('runs again in halves until the failing row is alone, in O(log n) statements, one at a time', async () => {
    const rows = 1000;
    let statements = 0;
    let atOnce = 0;
    const failing = new GuiltyRowError();
    const batcher = createBatcher<number, number>({
      ...holdStatements(),
      keyOf: undefined,
      batchRowsMax: rows,
      statementsMax: 10,
      async run(items) {
        statements += 1;
        atOnce += 1;
        expect(atOnce).toBe(1);
        expect(batcher.inFlight).toBe(1);
        await nextTurn();
        atOnce -= 1;
        if (items.includes(637)) throw failing;
        return items.map((item) => -item);
      },
    });
    const answers = await Promise.allSettled(Array.from({ length: rows }, (_, item) => batcher.submit(item)));
    for (const [item, answer] of answers.entries()) {
      expect(answer).toEqual(
        item === 637 ? { status: 'rejected', reason: failing } : { status: 'fulfilled', value: -item },
      );
    }
    expect(statements).toBeLessThanOrEqual(1 + 2 * Math.ceil(Math.log2(rows)));
  });

  it('continues with one half if the other one fails', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const answers = Promise.allSettled(['a', 'b', 'c', 'd'].map((item) => batcher.submit(item)));
    await nextTurn();
    const lost = new Error('connection lost');
    await held.statements[0]?.fail(new GuiltyRowError());
    await held.statements[1]?.fail(lost);
    await held.statements[2]?.succeed();
    expect(held.sent).toEqual([
      ['a', 'b', 'c', 'd'],
      ['a', 'b'],
      ['c', 'd'],
    ]);
    expect(await answers).toEqual([
      { status: 'rejected', reason: lost },
      { status: 'rejected', reason: lost },
      { status: 'fulfilled', value: 'C' },
      { status: 'fulfilled', value: 'D' },
    ]);
  });

  it('drops calls that were cancelled meanwhile, and frees their keys', async () => {
    useFakeTimeouts();
    const held = holdStatements({ statementsMax: 2, slowStatementMs: 20 });
    const batcher = createBatcher(held);
    const callers = [new AbortController(), new AbortController()] as const;
    const gone = Promise.allSettled([
      batcher.submit('k:1', callers[0].signal),
      batcher.submit('l:1', callers[1].signal),
    ]);
    for (const item of ['c', 'd', 'k:2', 'l:2']) batcher.submit(item);
    await nextTurn();
    vi.advanceTimersByTime(20);
    callers[0].abort();
    await held.statements[0]?.fail(new GuiltyRowError());
    expect(held.sent).toEqual([['k:1', 'l:1', 'c', 'd'], ['k:2'], ['l:1']]);
    await held.statements[2]?.fail(new Error('connection lost'));
    await held.statements[1]?.succeed();
    expect(held.sent.slice(3)).toEqual([['c', 'd'], ['l:2']]);
    await gone;
  });

  it('drops a call that is cancelled while its half waits', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const a = batcher.submit('a');
    const b = batcher.submit('b', caller.signal);
    const c = batcher.submit('c');
    await nextTurn();
    await held.statements[0]?.fail(new GuiltyRowError());
    caller.abort();
    await expect(b).rejects.toBe(caller.signal.reason);
    await held.statements[1]?.succeed();
    await held.statements[2]?.succeed();
    expect(held.sent).toEqual([['a', 'b', 'c'], ['a'], ['c']]);
    await expect(Promise.all([a, c])).resolves.toEqual(['A', 'C']);
  });
});

describe('a cancelled call', () => {
  it('rejects at once with the reason, and never runs', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    batcher.submit('a');
    await nextTurn();
    const caller = new AbortController();
    const b = batcher.submit('b', caller.signal);
    const c = batcher.submit('c');
    caller.abort(new Fault('DEADLINE_PASSED', 'The deadline has passed.'));
    expect(batcher.queued).toBe(1);
    await expect(b).rejects.toMatchObject({ reason: 'DEADLINE_PASSED' });
    await held.statements[0]?.succeed();
    await held.statements[1]?.succeed();
    await expect(c).resolves.toBe('C');
    expect(held.sent).toEqual([['a'], ['c']]);
  });

  it('frees its place in the queue', async () => {
    const held = holdStatements({ queueRowsMax: 1 });
    const batcher = createBatcher(held);
    batcher.submit('a');
    await nextTurn();
    const caller = new AbortController();
    const gone = expect(batcher.submit('b', caller.signal)).rejects.toBeDefined();
    caller.abort();
    await gone;
    batcher.submit('c');
    await held.statements[0]?.succeed();
    expect(held.sent).toEqual([['a'], ['c']]);
  });

  it('rejects at once if its statement is in flight, and does not affect other calls', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const a = batcher.submit('a', caller.signal);
    const b = batcher.submit('b');
    await nextTurn();
    caller.abort();
    await expect(a).rejects.toBe(caller.signal.reason);
    expect(batcher.inFlight).toBe(1);
    await held.statements[0]?.succeed();
    await expect(b).resolves.toBe('B');
  });

  it('lets the next call of its key run', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    batcher.submit('a');
    await nextTurn();
    const caller = new AbortController();
    const gone = Promise.allSettled([batcher.submit('k:1', caller.signal), batcher.submit('k:2', caller.signal)]);
    for (const item of ['b', 'k:3', 'c', 'k:4']) batcher.submit(item);
    caller.abort();
    await gone;
    await held.statements[0]?.succeed();
    await held.statements[1]?.succeed();
    expect(held.sent).toEqual([['a'], ['b', 'k:3', 'c'], ['k:4']]);
  });
});

describe('close', () => {
  it('accepts no new calls and resolves when all are answered', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const a = batcher.submit('a');
    await nextTurn();
    const b = batcher.submit('b');
    let isClosed = false;
    const closed = batcher.close().then(() => {
      isClosed = true;
    });
    await expect(batcher.submit('c')).rejects.toMatchObject({ reason: 'SERVER_STOPPING' });
    await held.statements[0]?.succeed();
    await expect(a).resolves.toBe('A');
    expect(isClosed).toBe(false);
    await held.statements[1]?.succeed();
    await expect(b).resolves.toBe('B');
    await closed;
  });

  it('waits for a statement whose calls were all cancelled, because the database closes next', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const gone = expect(batcher.submit('a', caller.signal)).rejects.toBeDefined();
    await nextTurn();
    caller.abort();
    await gone;
    let isClosed = false;
    const closed = batcher.close().then(() => {
      isClosed = true;
    });
    await nextTurn();
    expect(isClosed).toBe(false);
    await held.statements[0]?.succeed();
    await closed;
  });
});

describe('the async context', () => {
  it('of a statement is that of the batcher, and of an answer that of the caller', async () => {
    const context = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const batcher = context.run('batcher', () =>
      createBatcher<string, string>({
        ...holdStatements({ batchRowsMax: 1 }),
        async run(items) {
          seen.push(context.getStore());
          return items;
        },
      }),
    );
    const call = (name: string) =>
      context.run(name, async () => {
        await batcher.submit(name);
        seen.push(context.getStore());
      });
    await Promise.all([call('ada'), call('bob')]);
    expect(seen.sort()).toEqual(['ada', 'batcher', 'batcher', 'bob']);
  });
});

/** One call of a random script, in the model. */
interface ModelCall {
  readonly arrival: number;
  readonly key: string | undefined;
  /** The call's effect on a statement: an outcome, an Error for this call, or a failure of the whole statement. */
  readonly fate: 'good' | 'refused' | 'failing';
  readonly caller: AbortController;
  state: 'waiting' | 'sent' | 'done';
  /** The time step in which it was sent. */
  sentAt: number;
  isExecuted: boolean;
  expected: unknown;
  observed: unknown;
}

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant('submit' as const),
      key: fc.constantFrom(undefined, undefined, 'k', 'l', 'm'),
      fate: fc.constantFrom('good' as const, 'good' as const, 'good' as const, 'refused' as const, 'failing' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('abort' as const), which: fc.nat() }) },
  {
    weight: 5,
    arbitrary: fc.record({
      type: fc.constant('settle' as const),
      which: fc.nat(),
      how: fc.constantFrom('run' as const, 'run' as const, 'run' as const, 'lost' as const, 'short' as const),
    }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('turn' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('advance time' as const) }) },
);

const bounds = fc.record({
  batchRowsMax: fc.integer({ min: 1, max: 6 }),
  queueRowsMax: fc.integer({ min: 1, max: 16 }),
  statementsMax: fc.integer({ min: 1, max: 3 }),
});

describe('in random scripts', () => {
  it('the batcher behaves like its model, statement by statement and answer by answer', async () => {
    useFakeTimeouts();
    const slowStatementMs = 20;
    await fc.assert(
      fc.asyncProperty(bounds, fc.array(step, { maxLength: 80, size: 'max' }), async (bound, script) => {
        const calls: ModelCall[] = [];
        const running: {
          items: readonly ModelCall[];
          resolve(outcomes: unknown[]): void;
          reject(error: Error): void;
        }[] = [];
        let epoch = 0;
        // Collected, because an error inside `run` would become an outcome.
        const errors: string[] = [];

        const sameKey = (a: ModelCall, b: ModelCall) => a !== b && a.key !== undefined && a.key === b.key;
        const waiting = () => calls.filter((call) => call.state === 'waiting');

        /** The next expected batch: in order of arrival, each call without an earlier unfinished call of its key. */
        const nextBatch = () => {
          const unfinished = calls.filter((call) => call.state !== 'done');
          return waiting()
            .filter(
              (call) => !unfinished.some((o) => sameKey(o, call) && (o.state === 'sent' || o.arrival < call.arrival)),
            )
            .slice(0, bound.batchRowsMax);
        };

        const batcher = createBatcher<ModelCall, number>({
          ...bound,
          slowStatementMs,
          keyOf: (call) => call.key,
          isRetryable: (error) => error instanceof GuiltyRowError,
          run(items) {
            const isAgain = items.some((item) => item.state === 'sent');
            if (items.length < 1 || items.length > bound.batchRowsMax) errors.push('rows');
            if (running.length >= bound.statementsMax) errors.push('statements');
            const inFlight = running.flatMap((statement) => statement.items);
            for (const item of items) {
              if (item.caller.signal.aborted) errors.push('run although it was cancelled');
              if (item.isExecuted) errors.push('executed twice');
              if ([...inFlight, ...items].some((other) => sameKey(other, item))) errors.push('a key twice in flight');
              if (waiting().some((other) => sameKey(other, item) && other.arrival < item.arrival)) errors.push('order');
            }
            if (isAgain) {
              if (!items.every((item) => item.state === 'sent')) errors.push('a half with calls of another statement');
            } else {
              const holder = calls.find((call) => call.state === 'sent' && call.sentAt === epoch);
              if (holder !== undefined) errors.push('did not wait for the statement in flight');
              if (!sameMembers(items, nextBatch())) errors.push('not the batch of the model');
              for (const item of items) Object.assign(item, { state: 'sent', sentAt: epoch });
            }
            return new Promise((resolve, reject) => {
              running.push({ items, resolve: (outcomes) => resolve(outcomes as number[]), reject });
            });
          },
        });

        const settle = (which: number, how: 'run' | 'lost' | 'short') => {
          const [statement] = running.splice(which % running.length, 1);
          if (statement === undefined) return;
          const { items } = statement;
          const finish = (outcomeOf: (call: ModelCall) => unknown) => {
            for (const item of items) {
              item.state = 'done';
              item.expected ??= outcomeOf(item);
            }
          };
          if (how === 'run' && items.some((item) => item.fate === 'failing')) {
            const error = new GuiltyRowError();
            if (items.length === 1) finish(() => error);
            for (const item of items) if (item.caller.signal.aborted) item.state = 'done';
            statement.reject(error);
            return;
          }
          for (const item of items) item.isExecuted = true;
          if (how === 'lost') {
            const error = new Error('connection lost');
            finish(() => error);
            statement.reject(error);
          } else if (how === 'short') {
            finish(() => 'a bug');
            statement.resolve(items.slice(1).map((item) => item.arrival));
          } else {
            const outcomes = items.map((item) => (item.fate === 'good' ? item.arrival : new Error(`${item.arrival}`)));
            finish((item) => outcomes[items.indexOf(item)]);
            statement.resolve(outcomes);
          }
        };

        const submit = (key: string | undefined, fate: ModelCall['fate']) => {
          const call: ModelCall = {
            arrival: calls.length,
            key,
            fate,
            caller: new AbortController(),
            state: 'waiting',
            sentAt: -1,
            isExecuted: false,
            expected: undefined,
            observed: undefined,
          };
          if (waiting().length >= bound.queueRowsMax) Object.assign(call, { state: 'done', expected: 'OVERLOADED' });
          calls.push(call);
          batcher.submit(call, call.caller.signal).then(
            (outcome) => {
              call.observed = outcome;
            },
            (error) => {
              const isBug = error instanceof Error && error.message.includes('outcomes');
              call.observed = isBug ? 'a bug' : error instanceof Fault ? error.reason : error;
            },
          );
        };

        const abort = (which: number) => {
          const call = calls[which % calls.length];
          if (call === undefined || call.expected !== undefined) return;
          call.expected = `cancelled ${call.arrival}`;
          if (!running.some((statement) => statement.items.includes(call))) call.state = 'done';
          call.caller.abort(call.expected);
        };

        /** After one turn every answered call has its answer, and no call waits that could be in flight. */
        const check = async () => {
          await nextTurn();
          for (const call of calls) {
            if (call.observed === call.expected) continue;
            errors.push(`call ${call.arrival} got ${call.observed} instead of ${call.expected}`);
          }
          if (batcher.queued !== waiting().length) errors.push('queued');
          if (batcher.inFlight !== running.length) errors.push('inFlight');
          const isHeld = running.some((statement) => statement.items.some((item) => item.sentAt === epoch));
          const mayGo = !isHeld && running.length < bound.statementsMax;
          if (mayGo && nextBatch().length > 0) errors.push('waits without a reason');
          // One throw for all, because 100,000 calls of expect would take most of this test's time.
          if (errors.length > 0) throw new Error(errors.join('; '));
        };

        for (const action of script) {
          if (action.type === 'submit') submit(action.key, action.fate);
          else if (action.type === 'abort') abort(action.which);
          else {
            // Nothing settles within a turn: submitted calls are sent first.
            await check();
            if (action.type === 'settle') settle(action.which, action.how);
            if (action.type === 'advance time') {
              epoch += 1;
              vi.advanceTimersByTime(slowStatementMs);
            }
            await check();
          }
        }

        let isClosed = false;
        const closed = batcher.close().then(() => {
          isClosed = true;
        });
        await check();
        // Each row is in at most 1 + log2(6) failing statements and one successful one.
        for (let left = 5 * calls.length + 1; running.length > 0 && left > 0; left -= 1) {
          settle(left, 'run');
          await check();
        }
        expect(calls.filter((call) => call.expected === undefined)).toEqual([]);
        expect(isClosed).toBe(true);
        await closed;
        expect(vi.getTimerCount()).toBe(0);
      }),
      { numRuns: 400 },
    );
  });
});

function sameMembers(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((member, index) => member === b[index]);
}
