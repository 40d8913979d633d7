import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Admission } from '../../src/grpc-server/admission.js';
import { noteCaller, UnaryCalls } from '../../src/grpc-server/caller-share.js';
import { type LimitedConnection, shareCalls, stopCalls } from '../../src/grpc-server/connection-share.js';
import type { ConnectionUse } from '../../src/grpc-server/stream.js';

interface TestCall {
  readonly caller: UnaryCalls;
  hasRun: boolean;
  run(): void;
}

function createBusyServer() {
  const shares: (number | undefined)[] = [];
  const wasteful: UnaryCalls[] = [];
  const admission = new Admission({
    openCallsMax: 100,
    onShare: (perCaller) => shares.push(perCaller),
    onWaste: (caller) => wasteful.push(caller),
  });
  return {
    admission,
    shares,
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

const many = Array.from({ length: 80 });

describe('a server that is not busy', () => {
  it('runs all calls at once', () => {
    const { admission, call, shares } = createBusyServer();
    const [one, two] = [new UnaryCalls(), new UnaryCalls()];
    for (let count = 0; count < 40; count++) call(one);
    call(two);
    admission.measure();
    expect(shares).toEqual([undefined]);
    expect(many.slice(0, 40).every(() => call(one).hasRun)).toBe(true);
  });
});

describe('a busy server', () => {
  it('lets a single caller run and open as many calls as before', () => {
    const { admission, call, shares } = createBusyServer();
    const one = new UnaryCalls();
    for (const _ of many) call(one);
    admission.measure();
    expect(shares).toEqual([100]);
    expect(call(one).hasRun).toBe(true);
  });

  it('divides the open calls and the running calls among its callers', () => {
    const { admission, call, shares } = createBusyServer();
    const [flood, other] = [new UnaryCalls(), new UnaryCalls()];
    for (const _ of many) call(flood);
    call(other);
    admission.measure();
    expect(shares).toEqual([50]);
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
    // Eight may run.
    for (const one of running.slice(0, 73)) end(one);
    expect(waiting.map(({ hasRun }) => hasRun)).toEqual([true, false]);
  });

  it('shares with a caller for a second after its last call, and until nothing is in flight', () => {
    const { admission, call, end, shares } = createBusyServer();
    const [flood, other] = [new UnaryCalls(), new UnaryCalls()];
    for (const _ of many) call(flood);
    end(call(other));
    for (let interval = 0; interval < 12; interval++) admission.measure();
    expect(shares[0]).toBe(50);
    expect(shares.at(-1)).toBe(100);
  });

  it('reports a caller once in an interval if its calls end without an answer', () => {
    const { admission, call, end, wasteful } = createBusyServer();
    const flood = new UnaryCalls();
    for (const one of many.map(() => call(flood))) end(one, false);
    expect(wasteful).toEqual([]);
    for (const _ of many) call(flood);
    admission.measure();
    for (const one of many.map(() => call(flood))) end(one, false);
    // Nobody else calls.
    expect(wasteful).toEqual([]);
    call(new UnaryCalls());
    admission.measure();
    for (const one of many.map(() => call(flood))) end(one, false);
    expect(wasteful).toEqual([flood]);
    admission.measure();
    for (const one of many.map(() => call(flood))) end(one, false);
    expect(wasteful).toEqual([flood, flood]);
  });
});

class TestConnection implements LimitedConnection {
  readonly use: ConnectionUse;
  readonly isActive = true;
  callsMax = 4096;

  constructor(caller: ConnectionUse['caller'], openStreams = 0) {
    this.use = { caller, openStreams };
  }

  limitCalls(callsMax: number): void {
    this.callsMax = callsMax;
  }
}

describe('the connections of a busy server', () => {
  const flood = new UnaryCalls();
  const other = new UnaryCalls();
  const open = { total: 512, perCaller: 256 };

  it('share the open calls of their caller, and keep their streams and one more call', () => {
    const floods = Array.from({ length: 300 }, () => new TestConnection(flood));
    const others = [new TestConnection(other), new TestConnection(other, 3)];
    shareCalls([...floods, ...others], open, 4096);
    expect(floods[0]?.callsMax).toBe(1);
    expect(others.map(({ callsMax }) => callsMax)).toEqual([128, 131]);
  });

  it('share all open calls if each carries the calls of several callers, as those of a proxy do', () => {
    const [first, second] = [new TestConnection(undefined), new TestConnection(undefined)];
    for (const _ of many) for (const { use } of [first, second]) noteCaller(use, new UnaryCalls());
    shareCalls([first, second], { total: 512, perCaller: 512 / 80 }, 4096);
    expect([first.callsMax, second.callsMax]).toEqual([256, 256]);
  });

  it('stay those of their caller if health is checked on them', () => {
    const { use } = new TestConnection(undefined);
    noteCaller(use, flood);
    noteCaller(use, undefined);
    noteCaller(use, flood);
    expect(use.caller).toBe(flood);
  });

  it('take turns while their caller wastes calls, and may all start calls again afterwards', () => {
    const floods = Array.from({ length: 64 }, (_, index) => new TestConnection(flood, index % 2));
    const all = [...floods, new TestConnection(other)];
    const mayStart = () =>
      floods.flatMap(({ callsMax, use: { openStreams } }, index) => (callsMax > openStreams ? [index] : []));
    stopCalls(all, flood);
    expect(mayStart()).toEqual([]);
    expect(all.at(-1)?.callsMax).toBe(4096);
    flood.wasteLeft = 0;
    shareCalls(all, open, 4096);
    expect(mayStart()).toEqual(Array.from({ length: 16 }, (_, index) => index));
    shareCalls(all, open, 4096);
    expect(mayStart()).toEqual(Array.from({ length: 4 }, (_, index) => 16 + index));
    flood.wasteLeft = 1;
    const counts = Array.from({ length: 4 }, () => {
      shareCalls(all, open, 4096);
      return mayStart().length;
    });
    expect(counts).toEqual([8, 16, 32, 64]);
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
    // The server is fast enough to admit so many calls.
    for (let count = 0; count < 10_000; count++) end(call(flood));
    const before = many.map(() => call(flood));
    call(other);
    admission.measure();
    const calls = Array.from({ length: 30_000 }, () => {
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
    const { admission, call, shares } = createBusyServer();
    const flood = new UnaryCalls();
    for (const _ of many) call(flood);
    for (let count = 0; count < 20; count++) {
      const health = admission.admit();
      expect(health !== undefined && admission.start(health, { run() {} })).toBe(true);
    }
    admission.measure();
    expect(shares).toEqual([100]);
  });
});
