/**
 * Ends connections whose client makes the server work without asking for anything. Each such frame takes one from the
 * client's credit. Answers add to it, because flow control, pings and cancellations belong to them. Time adds to it too.
 *
 * - RST_STREAM after HEADERS: CVE-2023-44487 (rapid reset)
 * - frames that make the server reset a stream: CVE-2025-8671 (MadeYouReset)
 * - PING: CVE-2019-9512. SETTINGS: CVE-2019-9515. PRIORITY: CVE-2019-9513. Empty frames: CVE-2019-9518.
 * - WINDOW_UPDATE that permits little data: CVE-2019-9511
 */
import { ConnectionError, errorCode } from './frames.js';

/** A client that cancels all its calls at once, or starts and cancels thousands a second, is not an attack. */
const creditMax = 10_000;
const creditPerMs = 5;
const creditPerAnswer = 5;

export class FloodGuard {
  #credit = creditMax;
  #refilledMs = performance.now();

  /** Throws a ConnectionError if the client has no credit left. */
  spend(credit = 1): void {
    this.#credit -= credit;
    if (this.#credit >= 0) return;
    const nowMs = performance.now();
    this.#credit = Math.min(creditMax, this.#credit + (nowMs - this.#refilledMs) * creditPerMs);
    this.#refilledMs = nowMs;
    if (this.#credit < 0) throw new ConnectionError(errorCode.enhanceYourCalm, 'The client sends too many frames.');
  }

  /** The server has sent something that the client asked for. */
  earn(): void {
    if (this.#credit < creditMax) this.#credit += creditPerAnswer;
  }
}
