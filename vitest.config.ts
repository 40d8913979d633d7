/** How the tests run: against one real Postgres that global-setup brings, each file in a process of its own. */
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    environment: 'node',
    pool: 'forks',
    // Vitest's own choice but on two processors, where that is one: files wait more than they compute.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // Programs that tests start must not colour their output, because tests read it. CI may ask for colours.
    env: { FORCE_COLOR: '0' },
    globalSetup: ['test/support/global-setup.ts'],
    // Bounds for a test that hangs, far above what the slowest machine needs: nothing waits for them otherwise.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    teardownTimeout: 60_000,
  },
});
