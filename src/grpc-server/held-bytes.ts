/** Counts the bytes that the process holds for one call, toward the limits of its connection and of the process. */
import type { ByteBudget, ByteHold } from './byte-budget.js';
import type { Connection } from './stream.js';

export class HeldBytes {
  #bytes = 0;
  #hold: ByteHold | undefined;

  /** `onGiveUp` must free the memory of the call. */
  constructor(
    private readonly connection: Connection,
    private readonly budget: ByteBudget | undefined,
    private readonly connectionBytesMax: number,
    private readonly onGiveUp: () => void,
  ) {}

  set(bytes: number): void {
    const change = bytes - this.#bytes;
    if (change === 0) return;
    this.#bytes = bytes;
    this.connection.heldBytes += change;
    if (this.budget !== undefined) {
      this.#hold ??= this.budget.open(this.onGiveUp);
      if (change > 0) this.#hold.add(change);
      else {
        this.#hold.remove(-change);
        this.#hold.recordTransfer(-change);
      }
    }
    if (change > 0 && this.connection.heldBytes > this.connectionBytesMax) this.onGiveUp();
  }

  release(): void {
    this.connection.heldBytes -= this.#bytes;
    this.#bytes = 0;
    this.#hold?.release();
  }
}
