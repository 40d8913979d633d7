/** The header of a call, and its caller. */
import type { CallerShare } from './caller-share.js';
import type { CallInfo } from './observer.js';
import type { ServedMethod } from './served-method.js';
import type { Connection, HeaderFields, TransportStream } from './stream.js';

export class CallBase implements CallInfo {
  readonly startedMs = performance.now();
  timeoutMs: number | undefined;
  caller: unknown;
  share: CallerShare | undefined;

  constructor(
    protected readonly stream: TransportStream,
    readonly path: string,
    readonly fields: HeaderFields,
    protected readonly method: ServedMethod | undefined,
  ) {}

  get isKnownMethod(): boolean {
    return this.method !== undefined;
  }

  get responseStream(): boolean {
    return this.method?.responseStream === true;
  }

  get isStream(): boolean {
    return this.method?.requestStream === true || this.responseStream;
  }

  get peer(): string {
    return this.stream.connection.peer;
  }

  get connection(): Connection {
    return this.stream.connection;
  }
}
