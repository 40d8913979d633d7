import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Admission } from '../../src/grpc-server/admission.js';
import { noteCaller, UnaryCalls } from '../../src/grpc-server/caller-share.js';

interface TestCall {
  readonly caller: UnaryCalls;
  hasRun: boolean;
  run(): void;
}

function createBusyServer() {
  const wasteful: UnaryCalls[] = [];
  const admission = new Admission({ onWaste: (caller) => wasteful.push(caller) });
  return {
    admission,
    wasteful,
    call(caller: UnaryCalls): TestCall {
      const call: TestCall = {
        caller,
        hasRun: false,
        run() {
          call.hasRun = true;
        },
      };
      expect(admission.admit(1000, caller)).toBe(caller);
      call.hasRun = admission.start(caller, call);
      return call;
    },
    end(call: TestCall, isAnswered = true): void {
      admission.release(call.caller, call, { hasRun: call.hasRun, isAnswered });
    },
  };
}

// More than a server that is not busy has in flight.
const many = Array.from({ length: 256 });

describe('a server that is not busy', () => {
  it('runs all calls at once', () => {
    const { admission, call } = createBusyServer();
    const [one, two] = [new UnaryCalls(), new UnaryCalls()];
    for (let count = 0; count < 200; count++) call(one);
    call(two);
    admission.measure();
    expect(many.slice(0, 40).every(() => call(one).hasRun)).toBe(true);
  });

  it('admits a burst after a long silence', () => {
    const { admission } = createBusyServer();
    for (let interval = 0; interval < 10_000; interval++) admission.measure();
    const one = new UnaryCalls();
    for (let count = 0; count < 1000; count++) expect(admission.admit(1000, one)).toBe(one);
  });
});

describe('a busy server', () => {
  it('refuses calls that would wait for more than a quarter of their deadline', () => {
    const { admission } = createBusyServer();
    const one = new UnaryCalls();
    // By the first estimate, 1000 calls take 200 ms.
    for (let count = 0; count < 1000; count++) admission.admit(10_000, one);
    expect(admission.refuses(1000, one)).toBe(false);
    expect(admission.refuses(500, one)).toBe(true);
    expect(admission.admit(500, one)).toBeUndefined();
    // A caller with few calls waits only for its share.
    const other = new UnaryCalls();
    expect(admission.admit(500, other)).toBe(other);
    expect([one.inFlight, other.inFlight]).toEqual([1000, 1]);
  });

  it('refuses calls that may have waited too long before they were read', () => {
    const { admission } = createBusyServer();
    const one = new UnaryCalls();
    for (const behindMs of [0, 200]) expect(admission.refuses(1000, one, behindMs)).toBe(false);
    expect([admission.refuses(1000, one, 300), admission.refuses(500, one, 200)]).toEqual([true, true]);
    expect([admission.refuses(undefined, one, 2000), admission.refuses(undefined, one, 3000)]).toEqual([false, true]);
    for (let count = 0; count < 1000; count++) admission.admit(10_000, one);
    expect(admission.refuses(1000, one, 100)).toBe(true);
  });

  it('does not count refused calls against a single caller', () => {
    const { admission, call } = createBusyServer();
    const one = new UnaryCalls();
    for (const _ of many) call(one);
    admission.measure();
    for (let count = 0; count < 10_000; count++) expect(admission.admit(1, one)).toBeUndefined();
    expect(admission.admit(10_000, one)).toBe(one);
  });

  it('lets a single caller run all its calls', () => {
    const { admission, call } = createBusyServer();
    const one = new UnaryCalls();
    for (const _ of many) call(one);
    admission.measure();
    expect(call(one).hasRun).toBe(true);
  });

  it('divides the running calls among its callers', () => {
    const { admission, call } = createBusyServer();
    const [flood, other] = [new UnaryCalls(), new UnaryCalls()];
    for (const _ of many) call(flood);
    call(other);
    admission.measure();
    expect(call(flood).hasRun).toBe(false);
    expect(call(other).hasRun).toBe(true);
  });

  it('runs a waiting call when another one of its caller has ended, in order of arrival', () => {
    const { admission, call, end } = createBusyServer();
    const [flood, other] = [new UnaryCalls(), new UnaryCalls()];
    const running = many.map(() => call(flood));
    const others = [call(other)];
    admission.measure();
    const waiting = [call(flood), call(flood)];
    for (const one of others) end(one);
    expect(waiting.map(({ hasRun }) => hasRun)).toEqual([false, false]);
    // Two callers may run as many calls as the server answers in 10 ms.
    for (const one of running.slice(0, many.length - 24)) end(one);
    expect(waiting.map(({ hasRun }) => hasRun)).toEqual([true, false]);
  });

  it('shares with a caller for a second after its last call, and until nothing is in flight', () => {
    const { admission, call, end } = createBusyServer();
    const [flood, other] = [new UnaryCalls(), new UnaryCalls()];
    for (const _ of many) call(flood);
    end(call(other));
    admission.measure();
    expect(call(flood).hasRun).toBe(false);
    for (let interval = 0; interval < 12; interval++) admission.measure();
    expect(call(flood).hasRun).toBe(true);
  });

  it('refuses a caller for the rest of an interval if too many of its calls end without an answer', () => {
    const { admission, call, end, wasteful } = createBusyServer();
    const flood = new UnaryCalls();
    for (const _ of many) call(flood);
    admission.measure();
    const waste = () => {
      for (let count = 0; count < 200; count++) {
        if (admission.admit(1000, flood) === undefined) return;
        end({ caller: flood, hasRun: true, run() {} }, false);
        flood.running++;
      }
    };
    // Nobody else calls: the connections of the only caller are read, so that its calls do not grow older.
    waste();
    expect(wasteful).toEqual([]);
    expect(admission.refuses(10_000, flood)).toBe(true);
    const other = new UnaryCalls();
    call(other);
    admission.measure();
    waste();
    expect(wasteful).toEqual([flood]);
    expect([admission.refuses(10_000, flood), admission.refuses(10_000, other)]).toEqual([true, false]);
    admission.measure();
    expect(admission.refuses(10_000, flood)).toBe(false);
    waste();
    expect(wasteful).toEqual([flood, flood]);
  });
});

describe('a connection', () => {
  it('belongs to the caller of its calls, or to several', () => {
    const use: { caller: UnaryCalls | 'several' | undefined } = { caller: undefined };
    const [one, other] = [new UnaryCalls(), new UnaryCalls()];
    for (const caller of [undefined, one, undefined, one]) noteCaller(use, caller);
    expect(use.caller).toBe(one);
    noteCaller(use, other);
    noteCaller(use, one);
    expect(use.caller).toBe('several');
  });
});

describe('the counts of calls', () => {
  it('stay right and bounded, and each call runs at last, whatever the callers do', () => {
    const step = fc.record({
      caller: fc.nat({ max: 3 }),
      action: fc.constantFrom('call', 'call', 'call', 'answer', 'cancel', 'measure'),
      times: fc.integer({ min: 1, max: 60 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
        const { admission, call, end } = createBusyServer();
        const callers = Array.from({ length: 4 }, () => new UnaryCalls());
        const calls = callers.map((): TestCall[] => []);
        const check = () => {
          for (const [index, caller] of callers.entries()) {
            const running = calls[index]?.filter(({ hasRun }) => hasRun).length ?? 0;
            expect(caller.running).toBe(running);
            expect(caller.inFlight).toBe(calls[index]?.length);
            expect(caller.waiting.size).toBe(caller.inFlight - running);
            // A call waits only for running calls of its own caller.
            if (caller.waiting.size > 0) expect(running).toBeGreaterThanOrEqual(8);
          }
        };
        for (const { caller: index, action, times } of steps) {
          const [caller, own] = [callers[index], calls[index]];
          if (caller === undefined || own === undefined) continue;
          for (let count = 0; count < times; count++) {
            if (action === 'call') own.push(call(caller));
            else if (action === 'measure') admission.measure();
            else {
              // Any call may be cancelled, but only one that runs is answered.
              const at = action === 'cancel' ? own.length - 1 : own.findIndex(({ hasRun }) => hasRun);
              const [one] = at < 0 ? [] : own.splice(at, 1);
              if (one !== undefined) end(one, action === 'answer');
            }
          }
          check();
        }
        for (const own of calls) while (own.length > 0) for (const one of own.splice(0)) end(one, one.hasRun);
        check();
      }),
      { numRuns: 50 },
    );
  });

  it('stay right if thousands of waiting calls each end as soon as they start', () => {
    const { admission, call, end } = createBusyServer();
    const [flood, other] = [new UnaryCalls(), new UnaryCalls()];
    const before = many.map(() => call(flood));
    call(other);
    admission.measure();
    const calls = Array.from({ length: 8000 }, () => {
      const one = {
        hasRun: false,
        caller: flood,
        run() {
          one.hasRun = true;
          end(one);
        },
      };
      expect(admission.admit(undefined, flood)).toBeDefined();
      one.hasRun = admission.start(flood, one);
      return one;
    });
    expect(flood.waiting.size).toBeGreaterThan(5000);
    for (const one of [...before, ...calls.filter(({ hasRun }) => hasRun)]) end(one);
    expect(calls.every(({ hasRun }) => hasRun)).toBe(true);
    expect([flood.inFlight, flood.running, flood.waiting.size]).toEqual([0, 0, 0]);
  });

  it('leave out health checks, which have no share and never wait', () => {
    const { admission, call } = createBusyServer();
    const flood = new UnaryCalls();
    for (const _ of many) call(flood);
    for (let count = 0; count < 20; count++) {
      const health = admission.admit();
      expect(health !== undefined && admission.start(health, { run() {} })).toBe(true);
    }
  });
});
