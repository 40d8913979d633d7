/** Counts the bytes that the process holds for one call: for its connection, its caller and the whole process. */
import type { ByteBudget, ByteHold } from './byte-budget.js';
import { callError } from './call-error.js';
import type { CallInfo } from './observer.js';

export interface HeldBytesLimits {
  readonly connectionBytesMax: number;
  readonly budget: ByteBudget | undefined;
}

export class HeldBytes {
  #bytes = 0;
  /** The part that is counted for the caller, which may become known late. */
  #callerBytes = 0;
  #hold: ByteHold | undefined;
  #isReleased = false;

  /** `onExceeded` must free the memory of the call. */
  constructor(
    private readonly call: CallInfo,
    private readonly limits: HeldBytesLimits,
    private readonly onExceeded: (error: unknown) => void,
  ) {}

  set(bytes: number): void {
    const change = bytes - this.#bytes;
    if (change === 0 || this.#isReleased) return;
    this.#bytes = bytes;
    const { connection, share } = this.call;
    connection.heldBytes += change;
    if (share !== undefined) {
      share.heldBytes += bytes - this.#callerBytes;
      this.#callerBytes = bytes;
    }
    const { budget, connectionBytesMax } = this.limits;
    if (budget !== undefined) {
      this.#hold ??= budget.open(() => this.onExceeded(tooManyBytes()));
      if (change > 0) this.#hold.add(change);
      else {
        this.#hold.remove(-change);
        this.#hold.recordTransfer(-change);
      }
    }
    if (change < 0) return;
    if (share !== undefined && share.heldBytes > share.heldBytesMax) this.onExceeded(share.tooManyBytes(this.call));
    else if (connection.heldBytes > connectionBytesMax) this.onExceeded(tooManyBytes());
  }

  /** Counts nothing from then on, and releases the caller's share. */
  release(): void {
    this.set(0);
    this.#isReleased = true;
    this.#hold?.release();
    this.#releaseShare();
  }

  /** The caller became known after the call had ended. */
  releaseLate(): void {
    if (this.#isReleased) this.#releaseShare();
  }

  #releaseShare(): void {
    this.call.share?.release(this.call);
    this.call.share = undefined;
  }
}

function tooManyBytes(): unknown {
  return callError('OVERLOADED', 'The server holds too many bytes for clients that read or send slowly.');
}
