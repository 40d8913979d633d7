import { describe, expect, it } from 'vitest';
import { createPause } from '../../src/concurrency/event-loop.js';

describe('a pause', () => {
  it('is taken only after the work has taken a while, and lets other work run', async () => {
    const pause = createPause();
    let hasRun = false;
    setImmediate(() => {
      hasRun = true;
    });
    const startMs = performance.now();
    while (performance.now() - startMs < 30);
    expect(hasRun).toBe(false);
    await pause();
    expect(hasRun).toBe(true);
    // The time counts from the last pause on.
    const again = createPause();
    expect(again()).toBeUndefined();
  });
});
