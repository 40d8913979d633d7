/**
 * Limits what one caller may use of this process: calls a second, open streams and watches, and bytes. A caller is known
 * by its name or, on a server that is open to everyone, by its address.
 */
import { type Rate, TokenBucket } from '../concurrency/token-bucket.js';
import { type CallerShare, UnaryCalls } from '../grpc-server/caller-share.js';
import type { CallInfo } from '../grpc-server/observer.js';
import type { Caller } from '../model/caller.js';
import type { Fault } from '../model/fault.js';
import { rateLimited } from '../model/fault.js';
import { clientNetwork } from '../net/address.js';
import { anyone } from '../policy/method-roles.js';
import type { Log } from '../telemetry/log.js';
import type { Metrics } from '../telemetry/metrics.js';

export interface CallerLimits {
  /** 0 means that there is no limit. */
  readonly callsPerSecondMax: number;
  /** How many calls may come at once. Undefined means the calls of one second. */
  readonly callsBurst: number | undefined;
  /** Open imports, exports and watches, and other streams. */
  readonly streamsMax: number;
  readonly watchesMax: number;
  readonly bytesMax: number;
}

/** Which limit a call has reached. */
export type LimitName = 'calls' | 'streams' | 'watches' | 'bytes';

export interface CallerLimiterOptions {
  readonly limits: CallerLimits;
  readonly log: Log;
  readonly metrics?: Pick<Metrics, 'limited'>;
}

export interface CallerLimiter {
  /** Counts a call until it closes, or returns why it is refused. */
  admit(call: CallInfo, caller: Caller): Fault | undefined;
  /** The number of callers in memory. */
  readonly size: number;
}

// Forgets idle callers this often, and only if there are more than a few. The rate of calls bounds their number: after
// a call, a caller without open calls is idle within a second.
const forgetEveryMs = 1000;
const keptMin = 256;
// A flood must not fill the log.
const lineEveryMs = 1000;

export function createCallerLimiter({ limits, log, metrics }: CallerLimiterOptions): CallerLimiter {
  const { callsPerSecondMax, callsBurst } = limits;
  const rate = { perSecond: callsPerSecondMax, burst: callsBurst ?? callsPerSecondMax };
  const loggedMs = new Map<LimitName, number>();

  function onLimited(limit: LimitName, caller: string, { path, startedMs }: CallInfo): void {
    metrics?.limited(limit);
    if (startedMs - (loggedMs.get(limit) ?? Number.NEGATIVE_INFINITY) < lineEveryMs) return;
    loggedMs.set(limit, startedMs);
    log.warn({ caller, setting: limitSettings[limit], method: path.slice(1) }, 'a caller has reached a limit');
  }

  const rules: Rules = { limits, rate: callsPerSecondMax === 0 ? undefined : rate, onLimited };
  const shares = new Map<string, Share>();
  let forgotMs = 0;

  function forgetIdle(nowMs: number): void {
    forgotMs = nowMs;
    for (const [key, share] of shares) if (share.isIdle(nowMs)) shares.delete(key);
  }

  return {
    admit(call, caller) {
      // The names of callers contain no @.
      const key = caller === anyone ? `@${clientNetwork(call.connection.host)}` : caller.actor;
      let share = shares.get(key);
      if (share === undefined) {
        if (shares.size > keptMin && call.startedMs - forgotMs > forgetEveryMs) forgetIdle(call.startedMs);
        share = new Share(key, rules);
        shares.set(key, share);
      }
      return share.admit(call);
    },
    get size() {
      return shares.size;
    },
  };
}

interface Rules {
  readonly limits: CallerLimits;
  readonly rate: Rate | undefined;
  onLimited(limit: LimitName, caller: string, call: CallInfo): void;
}

class Share implements CallerShare {
  heldBytes = 0;
  readonly unary = new UnaryCalls();
  #calls = 0;
  #streams = 0;
  #watches = 0;
  readonly #bucket: TokenBucket | undefined;

  constructor(
    private readonly key: string,
    private readonly rules: Rules,
  ) {
    this.#bucket = rules.rate && new TokenBucket(rules.rate);
  }

  get heldBytesMax(): number {
    return this.rules.limits.bytesMax;
  }

  isIdle(nowMs: number): boolean {
    return this.#calls === 0 && this.#bucket?.isFull(nowMs) !== false;
  }

  admit(call: CallInfo): Fault | undefined {
    const refusal = this.#refusal(call);
    if (refusal !== undefined) return refusal;
    this.#count(call, 1);
    call.share = this;
    return undefined;
  }

  release(call: CallInfo): void {
    this.#count(call, -1);
  }

  tooManyBytes(call: CallInfo): Fault {
    const { bytesMax } = this.rules.limits;
    return this.#limited('bytes', call, `hold ${bytesMax} bytes in unread responses and unfinished requests`);
  }

  #count(call: CallInfo, change: 1 | -1): void {
    this.#calls += change;
    if (call.isStream) this.#streams += change;
    if (isWatch(call)) this.#watches += change;
  }

  #refusal(call: CallInfo): Fault | undefined {
    const { streamsMax, watchesMax, callsPerSecondMax } = this.rules.limits;
    const waitMs = this.#bucket?.take(call.startedMs) ?? 0;
    if (waitMs > 0) return this.#limited('calls', call, `make ${callsPerSecondMax} calls a second`, waitMs);
    if (call.isStream && this.#streams >= streamsMax) {
      return this.#limited('streams', call, `have ${streamsMax} open streams`);
    }
    if (isWatch(call) && this.#watches >= watchesMax) {
      return this.#limited('watches', call, `have ${watchesMax} open watches`);
    }
    return undefined;
  }

  #limited(limit: LimitName, call: CallInfo, allowed: string, retryMs?: number): Fault {
    this.rules.onLimited(limit, this.key, call);
    return rateLimited(`A caller may ${allowed} (${limitSettings[limit]}).`, retryMs);
  }
}

const limitSettings: Readonly<Record<LimitName, string>> = {
  calls: 'CALLER_CALLS_PER_SECOND_MAX',
  streams: 'CALLER_STREAMS_MAX',
  watches: 'CALLER_WATCHES_MAX',
  bytes: 'CALLER_BYTES_MAX',
};

function isWatch({ path }: CallInfo): boolean {
  return path === '/users.v1.UserService/WatchUsers';
}
