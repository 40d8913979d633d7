import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Fault } from '../../src/model/fault.js';
import { createBatcher } from '../../src/operations/batcher.js';
import { GuiltyRowError, holdStatements } from './held-statements.js';

afterEach(() => {
  vi.useRealTimers();
});

function useFakeTimeouts(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
}

describe('a batcher at rest', () => {
  it('sends a call within the turn of the event loop in which it came', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const a = batcher.submit('a');
    await turn();
    expect(held.sent).toEqual([['a']]);
    expect(batcher.queued).toBe(0);
    expect(batcher.inFlight).toBe(1);
    await held.statements[0]?.succeed();
    await expect(a).resolves.toBe('A');
    expect(batcher.inFlight).toBe(0);
  });

  it('lets the calls of one turn share a statement, however many ticks they are apart', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    batcher.submit('a');
    process.nextTick(() => batcher.submit('b'));
    Promise.resolve()
      .then(() => Promise.resolve())
      .then(() => process.nextTick(() => batcher.submit('c')));
    await turn();
    expect(held.sent).toEqual([['a', 'b', 'c']]);
  });

  it('caches nothing', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    for (const outcome of ['first', 'second']) {
      const answer = batcher.submit('a');
      await turn();
      await held.statements.at(-1)?.succeed([outcome]);
      await expect(answer).resolves.toBe(outcome);
    }
  });
});

describe('while a statement is in flight', () => {
  it('the next calls gather and go out together when it settles', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    batcher.submit('a');
    await turn();
    batcher.submit('b');
    await turn();
    batcher.submit('c');
    await turn();
    expect(held.sent).toEqual([['a']]);
    expect(batcher.queued).toBe(2);
    await held.statements[0]?.succeed();
    expect(held.sent).toEqual([['a'], ['b', 'c']]);
  });

  it('the next goes out before the continuations of its answers run', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const a = batcher.submit('a');
    await turn();
    batcher.submit('b');
    const sentByThen = a.then(() => held.sent.length);
    await held.statements[0]?.succeed();
    await expect(sentByThen).resolves.toBe(2);
  });

  it('no statement has more rows than allowed, and calls leave in the order in which they came', async () => {
    const held = holdStatements({ batchRowsMax: 2 });
    const batcher = createBatcher(held);
    const answers = ['a', 'b', 'c', 'd', 'e'].map((item) => batcher.submit(item));
    await turn();
    for (let index = 0; index < 3; index += 1) await held.statements[index]?.succeed();
    expect(held.sent).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
    await expect(Promise.all(answers)).resolves.toEqual(['A', 'B', 'C', 'D', 'E']);
  });

  it('past the bound of the queue a call is refused, until there is room again', async () => {
    const held = holdStatements({ queueRowsMax: 2 });
    const batcher = createBatcher(held);
    batcher.submit('a');
    await turn();
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
  it('fill a statement by their rows, and one that is larger than that goes alone', async () => {
    const held = holdStatements({ batchRowsMax: 3 });
    const batcher = createBatcher({ ...held, rowsOf: (item) => item.length });
    for (const item of ['a', 'bb', 'c', 'dddd', '', 'ee', 'ff']) batcher.submit(item);
    await turn();
    for (let sent = 0; sent < held.statements.length; sent++) await held.statements[sent]?.succeed();
    expect(held.sent).toEqual([['a', 'bb'], ['c'], ['dddd'], ['', 'ee'], ['ff']]);
  });
});

describe('a statement that outlasts the patience', () => {
  it('no longer holds the next one back, up to the bound of statements', async () => {
    useFakeTimeouts();
    const held = holdStatements({ statementsMax: 2, patienceMs: 20 });
    const batcher = createBatcher(held);
    batcher.submit('a');
    await turn();
    batcher.submit('b');
    vi.advanceTimersByTime(19);
    await turn();
    expect(held.sent).toEqual([['a']]);
    vi.advanceTimersByTime(1);
    expect(held.sent).toEqual([['a'], ['b']]);
    batcher.submit('c');
    vi.advanceTimersByTime(1000);
    await turn();
    expect(held.sent).toEqual([['a'], ['b']]);
    expect(batcher.inFlight).toBe(2);
    await held.statements[1]?.succeed();
    expect(held.sent).toEqual([['a'], ['b'], ['c']]);
  });

  it('lets a call through that comes later, at once', async () => {
    useFakeTimeouts();
    const held = holdStatements({ statementsMax: 2, patienceMs: 20 });
    const batcher = createBatcher(held);
    batcher.submit('a');
    await turn();
    vi.advanceTimersByTime(20);
    batcher.submit('b');
    await turn();
    expect(held.sent).toEqual([['a'], ['b']]);
  });

  it('keeps its keys', async () => {
    useFakeTimeouts();
    const held = holdStatements({ statementsMax: 2, patienceMs: 20 });
    const batcher = createBatcher(held);
    batcher.submit('k:1');
    await turn();
    batcher.submit('k:2');
    batcher.submit('b');
    vi.advanceTimersByTime(20);
    expect(held.sent).toEqual([['k:1'], ['b']]);
    await held.statements[1]?.succeed();
    expect(held.sent).toHaveLength(2);
    await held.statements[0]?.succeed();
    expect(held.sent).toEqual([['k:1'], ['b'], ['k:2']]);
  });

  it('frees the keys of the half that is done while the other half is stuck', async () => {
    useFakeTimeouts();
    const held = holdStatements({ statementsMax: 2, patienceMs: 20 });
    const batcher = createBatcher(held);
    const first = batcher.submit('k:1');
    batcher.submit('stuck');
    await turn();
    batcher.submit('k:2');
    await held.statements[0]?.fail(new GuiltyRowError());
    vi.advanceTimersByTime(20);
    await held.statements[1]?.succeed();
    await first;
    expect(held.sent).toEqual([['k:1', 'stuck'], ['k:1'], ['k:2'], ['stuck']]);
  });
});

describe('calls of one key', () => {
  it('never share a statement and go out in order of arrival', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const answers = ['k:1', 'k:2', 'k:3'].map((item) => batcher.submit(item));
    await turn();
    for (let index = 0; index < 3; index += 1) await held.statements[index]?.succeed();
    expect(held.sent).toEqual([['k:1'], ['k:2'], ['k:3']]);
    await expect(Promise.all(answers)).resolves.toEqual(['K:1', 'K:2', 'K:3']);
  });

  it('hold up nobody else', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    for (const item of ['k:1', 'k:2', 'a', 'k:3', 'l:1', 'b']) batcher.submit(item);
    await turn();
    expect(held.sent).toEqual([['k:1', 'a', 'l:1', 'b']]);
  });

  it('keep the place that their arrival gave them, neither in front of older calls nor behind younger ones', async () => {
    const held = holdStatements({ batchRowsMax: 2 });
    const batcher = createBatcher(held);
    for (const item of ['k:1', 'l:1', 'a', 'k:2', 'b', 'l:2', 'c', 'd']) batcher.submit(item);
    await turn();
    for (let index = 0; index < 4; index += 1) await held.statements[index]?.succeed();
    expect(held.sent).toEqual([
      ['k:1', 'l:1'],
      ['a', 'k:2'],
      ['b', 'l:2'],
      ['c', 'd'],
    ]);
  });

  it('wait for one that is in flight even when its caller has gone', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const gone = batcher.submit('k:1', caller.signal);
    batcher.submit('k:2');
    await turn();
    caller.abort();
    await expect(gone).rejects.toBe(caller.signal.reason);
    await turn();
    expect(held.sent).toEqual([['k:1']]);
    await held.statements[0]?.succeed();
    expect(held.sent).toEqual([['k:1'], ['k:2']]);
  });
});

describe('outcomes', () => {
  it('are each call’s own, good or bad', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const answers = Promise.allSettled(['a', 'b', 'c'].map((item) => batcher.submit(item)));
    await turn();
    const taken = new Fault('EMAIL_TAKEN', 'Another user has this email.');
    await held.statements[0]?.succeed(['A', taken, 'C']);
    expect(await answers).toEqual([
      { status: 'fulfilled', value: 'A' },
      { status: 'rejected', reason: taken },
      { status: 'fulfilled', value: 'C' },
    ]);
  });

  it('of a statement that failed and may have written: everybody gets the error and nothing is run again', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const answers = Promise.allSettled(['a', 'b'].map((item) => batcher.submit(item)));
    await turn();
    const lost = new Error('connection lost');
    await held.statements[0]?.fail(lost);
    expect(await answers).toEqual([
      { status: 'rejected', reason: lost },
      { status: 'rejected', reason: lost },
    ]);
    expect(held.sent).toHaveLength(1);
  });
});

describe('a statement that failed without a trace', () => {
  it('is run again in halves until the guilty row is alone, in O(log n) statements, one at a time', async () => {
    const rows = 1000;
    let statements = 0;
    let atOnce = 0;
    const guilty = new GuiltyRowError();
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
        await turn();
        atOnce -= 1;
        if (items.includes(637)) throw guilty;
        return items.map((item) => -item);
      },
    });
    const answers = await Promise.allSettled(Array.from({ length: rows }, (_, item) => batcher.submit(item)));
    for (const [item, answer] of answers.entries()) {
      expect(answer).toEqual(
        item === 637 ? { status: 'rejected', reason: guilty } : { status: 'fulfilled', value: -item },
      );
    }
    expect(statements).toBeLessThanOrEqual(1 + 2 * Math.ceil(Math.log2(rows)));
  });

  it('goes on with one half when the other one is lost', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const answers = Promise.allSettled(['a', 'b', 'c', 'd'].map((item) => batcher.submit(item)));
    await turn();
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

  it('drops those whose callers have gone meanwhile, and frees their keys', async () => {
    useFakeTimeouts();
    const held = holdStatements({ statementsMax: 2, patienceMs: 20 });
    const batcher = createBatcher(held);
    const callers = [new AbortController(), new AbortController()] as const;
    const gone = Promise.allSettled([
      batcher.submit('k:1', callers[0].signal),
      batcher.submit('l:1', callers[1].signal),
    ]);
    for (const item of ['c', 'd', 'k:2', 'l:2']) batcher.submit(item);
    await turn();
    vi.advanceTimersByTime(20);
    callers[0].abort();
    await held.statements[0]?.fail(new GuiltyRowError());
    expect(held.sent).toEqual([['k:1', 'l:1', 'c', 'd'], ['k:2'], ['l:1']]);
    await held.statements[2]?.fail(new Error('connection lost'));
    await held.statements[1]?.succeed();
    expect(held.sent.slice(3)).toEqual([['c', 'd'], ['l:2']]);
    await gone;
  });

  it('drops who goes while the half waits for its turn', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const a = batcher.submit('a');
    const b = batcher.submit('b', caller.signal);
    const c = batcher.submit('c');
    await turn();
    await held.statements[0]?.fail(new GuiltyRowError());
    caller.abort();
    await expect(b).rejects.toBe(caller.signal.reason);
    await held.statements[1]?.succeed();
    await held.statements[2]?.succeed();
    expect(held.sent).toEqual([['a', 'b', 'c'], ['a'], ['c']]);
    await expect(Promise.all([a, c])).resolves.toEqual(['A', 'C']);
  });
});

describe('a caller that goes', () => {
  it('is answered at once with the reason, and its call is never run', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    batcher.submit('a');
    await turn();
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

  it('makes room in the queue', async () => {
    const held = holdStatements({ queueRowsMax: 1 });
    const batcher = createBatcher(held);
    batcher.submit('a');
    await turn();
    const caller = new AbortController();
    const gone = expect(batcher.submit('b', caller.signal)).rejects.toBeDefined();
    caller.abort();
    await gone;
    batcher.submit('c');
    await held.statements[0]?.succeed();
    expect(held.sent).toEqual([['a'], ['c']]);
  });

  it('is answered at once when its statement is in flight, and disturbs no neighbour', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const a = batcher.submit('a', caller.signal);
    const b = batcher.submit('b');
    await turn();
    caller.abort();
    await expect(a).rejects.toBe(caller.signal.reason);
    expect(batcher.inFlight).toBe(1);
    await held.statements[0]?.succeed();
    await expect(b).resolves.toBe('B');
  });

  it('makes way for the next of its key', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    batcher.submit('a');
    await turn();
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
  it('takes no new calls and resolves when all are answered', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const a = batcher.submit('a');
    await turn();
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

  it('waits for a statement whose callers have all gone, because the database goes next', async () => {
    const held = holdStatements();
    const batcher = createBatcher(held);
    const caller = new AbortController();
    const gone = expect(batcher.submit('a', caller.signal)).rejects.toBeDefined();
    await turn();
    caller.abort();
    await gone;
    let isClosed = false;
    const closed = batcher.close().then(() => {
      isClosed = true;
    });
    await turn();
    expect(isClosed).toBe(false);
    await held.statements[0]?.succeed();
    await closed;
  });
});

describe('the async context', () => {
  it('of a statement is the batcher’s and of an answer the caller’s', async () => {
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

/** One call of a random script, as the model knows it. */
interface ModelCall {
  readonly arrival: number;
  readonly key: string | undefined;
  /** What a statement makes of it: its outcome, an Error of its own, or the failure of the whole statement. */
  readonly fate: 'good' | 'refused' | 'guilty';
  readonly caller: AbortController;
  state: 'waiting' | 'sent' | 'done';
  /** The patience step before which it was sent. */
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
      fate: fc.constantFrom('good' as const, 'good' as const, 'good' as const, 'refused' as const, 'guilty' as const),
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
  { weight: 1, arbitrary: fc.record({ type: fc.constant('patience' as const) }) },
);

const bounds = fc.record({
  batchRowsMax: fc.integer({ min: 1, max: 6 }),
  queueRowsMax: fc.integer({ min: 1, max: 16 }),
  statementsMax: fc.integer({ min: 1, max: 3 }),
});

describe('whatever happens', () => {
  it('the batcher does what a model of it says, statement by statement and answer by answer', async () => {
    useFakeTimeouts();
    const patienceMs = 20;
    await fc.assert(
      fc.asyncProperty(bounds, fc.array(step, { maxLength: 80, size: 'max' }), async (bound, script) => {
        const calls: ModelCall[] = [];
        const running: {
          items: readonly ModelCall[];
          resolve(outcomes: unknown[]): void;
          reject(error: Error): void;
        }[] = [];
        let epoch = 0;
        // What is wrong inside `run` must not become an outcome.
        const wrongs: string[] = [];

        const sameKey = (a: ModelCall, b: ModelCall) => a !== b && a.key !== undefined && a.key === b.key;
        const waiting = () => calls.filter((call) => call.state === 'waiting');

        /** What has to go out next: in order of arrival, whoever has no call of its key before it. */
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
          patienceMs,
          keyOf: (call) => call.key,
          mayRunAgain: (error) => error instanceof GuiltyRowError,
          run(items) {
            const isAgain = items.some((item) => item.state === 'sent');
            if (items.length < 1 || items.length > bound.batchRowsMax) wrongs.push('rows');
            if (running.length >= bound.statementsMax) wrongs.push('statements');
            const inFlight = running.flatMap((statement) => statement.items);
            for (const item of items) {
              if (item.caller.signal.aborted) wrongs.push('run although its caller had gone');
              if (item.isExecuted) wrongs.push('executed twice');
              if ([...inFlight, ...items].some((other) => sameKey(other, item))) wrongs.push('a key twice in flight');
              if (waiting().some((other) => sameKey(other, item) && other.arrival < item.arrival)) wrongs.push('order');
            }
            if (isAgain) {
              if (!items.every((item) => item.state === 'sent')) wrongs.push('a half with strangers');
            } else {
              const holder = calls.find((call) => call.state === 'sent' && call.sentAt === epoch);
              if (holder !== undefined) wrongs.push('did not gather');
              if (!sameMembers(items, nextBatch())) wrongs.push('not the batch of the model');
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
          if (how === 'run' && items.some((item) => item.fate === 'guilty')) {
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
          call.expected = `gone ${call.arrival}`;
          if (!running.some((statement) => statement.items.includes(call))) call.state = 'done';
          call.caller.abort(call.expected);
        };

        /** One turn on, every call that has an answer has it, and nothing waits that could be in flight. */
        const check = async () => {
          await turn();
          for (const call of calls) {
            if (call.observed === call.expected) continue;
            wrongs.push(`call ${call.arrival} got ${call.observed} and not ${call.expected}`);
          }
          if (batcher.queued !== waiting().length) wrongs.push('queued');
          if (batcher.inFlight !== running.length) wrongs.push('inFlight');
          const isHeld = running.some((statement) => statement.items.some((item) => item.sentAt === epoch));
          const mayGo = !isHeld && running.length < bound.statementsMax;
          if (mayGo && nextBatch().length > 0) wrongs.push('waits for nothing');
          // One plain throw for all: an expect for each, some 100,000 times, would be most of this test's time.
          if (wrongs.length > 0) throw new Error(wrongs.join('; '));
        };

        for (const action of script) {
          if (action.type === 'submit') submit(action.key, action.fate);
          else if (action.type === 'abort') abort(action.which);
          else {
            // Nothing settles in the middle of a turn; what was submitted goes out first.
            await check();
            if (action.type === 'settle') settle(action.which, action.how);
            if (action.type === 'patience') {
              epoch += 1;
              vi.advanceTimersByTime(patienceMs);
            }
            await check();
          }
        }

        let isClosed = false;
        const closed = batcher.close().then(() => {
          isClosed = true;
        });
        await check();
        // Each row is in at most 1 + log2(6) statements that fail and one that does not.
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
