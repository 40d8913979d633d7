/** Remembers verified tokens, with bounds on their number and their size. */
import type { Caller } from '../model/caller.js';

export interface KnownToken {
  readonly caller: Caller;
  readonly expiresMs: number;
  /** Whether the key that signed the token is still in use. */
  isCurrent(): boolean;
}

// Two generations. When the younger is full, it replaces the older, whose unused tokens are forgotten.
const tokensMax = 10_000;
const textMax = 16 * 1024 * 1024;

export class TokenCache {
  #young = new Map<string, KnownToken>();
  #old = new Map<string, KnownToken>();
  #youngText = 0;

  /** Returns what is known about this text of `authorization`. It may not be valid any more. */
  get(authorization: string): KnownToken | undefined {
    const found = this.#young.get(authorization);
    if (found !== undefined) return found;
    const older = this.#old.get(authorization);
    if (older !== undefined) this.add(authorization, older);
    return older;
  }

  add(authorization: string, token: KnownToken): void {
    if (this.#young.size >= tokensMax / 2 || this.#youngText > textMax / 2) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngText = 0;
    }
    this.#young.set(authorization, token);
    this.#youngText += authorization.length;
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
    this.#youngText = 0;
  }
}
