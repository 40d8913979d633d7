/** Counts the bytes that the process holds for one call, for its connection and in the budget of the process. */
import type { ByteBudget, ByteHold } from './byte-budget.js';
import type { Connection } from './stream.js';

export interface HeldBytesLimits {
  readonly connectionBytesMax: number;
  readonly budget: ByteBudget | undefined;
}

export class HeldBytes {
  #bytes = 0;
  #hold: ByteHold | undefined;
  #isReleased = false;

  /** `onExceeded` must free the memory of the call. */
  constructor(
    private readonly connection: Connection,
    private readonly limits: HeldBytesLimits,
    private readonly onExceeded: () => void,
  ) {}

  set(bytes: number): void {
    const change = bytes - this.#bytes;
    if (change === 0 || this.#isReleased) return;
    this.#bytes = bytes;
    this.connection.heldBytes += change;
    const { budget, connectionBytesMax } = this.limits;
    if (budget !== undefined) {
      this.#hold ??= budget.open(this.onExceeded);
      if (change > 0) this.#hold.add(change);
      else {
        this.#hold.remove(-change);
        this.#hold.recordTransfer(-change);
      }
    }
    if (change > 0 && this.connection.heldBytes > connectionBytesMax) this.onExceeded();
  }

  /** Counts nothing from then on. */
  release(): void {
    this.set(0);
    this.#isReleased = true;
    this.#hold?.release();
  }
}
