/** How the tests run: against one real Postgres that global-setup brings, each file in a process of its own. */
import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

// The files that take longest and would otherwise run last, alone, because they are short.
const longest = ['docs-examples', 'web/dev', 'web/axe'].map((name) => `/test/${name}.test.ts`);

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLongest = ({ moduleId }: TestSpecification) => longest.some((end) => moduleId.endsWith(end));
    const sorted = await super.sort(files);
    return [...sorted.filter(isLongest), ...sorted.filter((file) => !isLongest(file))];
  }
}

export default defineConfig({
  test: {
    environment: 'node',
    pool: 'forks',
    // The other checks of .ci/run need processors too.
    maxWorkers: availableParallelism(),
    sequence: { sequencer: LongestFirst },
    // Programs that tests start must not colour their output, because tests read it. CI may ask for colours.
    env: { FORCE_COLOR: '0' },
    globalSetup: ['test/support/global-setup.ts'],
    // Bounds for a test that hangs, far above what the slowest machine needs: nothing waits for them otherwise.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    teardownTimeout: 60_000,
    // In CI, other checks run beside the suite and delay browsers and servers by seconds. The report names each test that
    // passed only at the second attempt. On a developer's machine, a test that fails once has failed.
    retry: process.env.CI === undefined ? 0 : 1,
    projects: [
      { extends: true, test: { name: 'roster', include: ['test/**/*.test.ts'] } },
      {
        extends: true,
        test: {
          name: 'on node:http2',
          env: { HTTP2_SERVER: 'node' },
          // The files that depend most on the implementation of HTTP/2.
          include: [
            'test/grpc-server/**/*.test.ts',
            'test/contract/{grpc,wire,workers}.test.ts',
            'test/rpc/{full-connection,server,watch-users}.test.ts',
          ],
        },
      },
    ],
  },
});
