import { describe, expect, it } from 'vitest';
import { Admission } from '../../src/grpc-server/admission.js';
import { UnaryCalls } from '../../src/grpc-server/caller-share.js';
import { type LimitedConnection, shareCalls, stopReading } from '../../src/grpc-server/connection-share.js';

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
    expect(wasteful).toEqual([flood]);
    admission.measure();
    for (const one of many.map(() => call(flood))) end(one, false);
    expect(wasteful).toEqual([flood, flood]);
  });
});

class TestConnection implements LimitedConnection {
  readonly use;
  readonly isActive = true;
  callsMax = 4096;
  isRead = true;

  constructor(caller: UnaryCalls, openStreams = 0) {
    this.use = { caller, openStreams };
  }

  limitCalls(callsMax: number): void {
    this.callsMax = callsMax;
  }

  setReading(reads: boolean): void {
    this.isRead = reads;
  }
}

describe('the connections of a busy server', () => {
  const flood = new UnaryCalls();
  const other = new UnaryCalls();

  it('share the open calls of their caller, and keep their streams and one more call', () => {
    const floods = Array.from({ length: 300 }, () => new TestConnection(flood));
    const others = [new TestConnection(other), new TestConnection(other, 3)];
    shareCalls([...floods, ...others], 256, 4096);
    expect(floods[0]?.callsMax).toBe(1);
    expect(others.map(({ callsMax }) => callsMax)).toEqual([128, 131]);
    shareCalls([...floods, ...others], undefined, 4096);
    expect(new Set([...floods, ...others].map(({ callsMax }) => callsMax))).toEqual(new Set([4096]));
  });

  it('are read in turns while their caller wastes calls, and all again afterwards', () => {
    const floods = Array.from({ length: 64 }, () => new TestConnection(flood));
    const all = [...floods, new TestConnection(other)];
    const readIndexes = () => floods.flatMap(({ isRead }, index) => (isRead ? [index] : []));
    stopReading(all, flood);
    expect(readIndexes()).toEqual([]);
    expect(all.at(-1)?.isRead).toBe(true);
    flood.wasteLeft = 0;
    shareCalls(all, 256, 4096);
    expect(readIndexes()).toEqual(Array.from({ length: 16 }, (_, index) => index));
    shareCalls(all, 256, 4096);
    expect(readIndexes()).toEqual(Array.from({ length: 4 }, (_, index) => 16 + index));
    flood.wasteLeft = 1;
    const counts = Array.from({ length: 4 }, () => {
      shareCalls(all, 256, 4096);
      return readIndexes().length;
    });
    expect(counts).toEqual([8, 16, 32, 64]);
  });

  it('are all read when the server is not busy any more', () => {
    const floods = Array.from({ length: 8 }, () => new TestConnection(flood));
    stopReading(floods, flood);
    shareCalls(floods, undefined, 4096);
    expect(floods.every(({ isRead }) => isRead)).toBe(true);
  });
});
