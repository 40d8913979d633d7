/** Tests what the page computes from the server's metrics. */
import { describe, expect, it } from 'vitest';
import { createMetrics, metricsText } from '../../src/telemetry/metrics.js';
import { parseMetrics, quantile, sampleBetween } from '../../web/metrics/metrics.js';

const method = (name: string) => `users.v1.UserService/${name}`;

describe('a sample of the metrics', () => {
  it('counts the calls since the one before', async () => {
    const metrics = createMetrics();
    metrics.observe({ feed: { watcherCount: 3, lagMs: 250 } });
    metrics.call(method('GetUser'), 'OK', 9000);
    const sample = async () => parseMetrics(await metricsText([await metrics.snapshot()]));
    const before = await sample();
    for (let at = 0; at < 20; at++) metrics.call(method('GetUser'), at < 5 ? 'NOT_FOUND' : 'OK', 2);
    // The duration of a stream does not count.
    metrics.call(method('WatchUsers'), 'CANCELLED', 60_000);
    metrics.batch('get', 4);
    metrics.batch('get', 8);
    const between = sampleBetween(before, await sample(), 2, 1000);
    expect(between).toMatchObject({
      atMs: 1000,
      callsPerSecond: 10.5,
      failedPerSecond: 3,
      watchers: 3,
      changeLogLag: 0.25,
    });
    expect(between.p50).toBeGreaterThan(0.001);
    expect(between.p95).toBeLessThanOrEqual(0.0025);
    expect(between.batchRows).toEqual(new Map([['get', 6]]));
    expect(between.memoryBytes).toBeGreaterThan(1e6);
  });

  it('begins at 0 again after a restart of the server', () => {
    const count = (value: number) =>
      parseMetrics(`rpc_server_call_duration_seconds_count{rpc_method="x",rpc_response_status_code="OK"} ${value}`);
    expect(sampleBetween(count(1000), count(8), 2, 0).callsPerSecond).toBe(4);
  });

  it('has no latency without calls', () => {
    const parsed = parseMetrics('roster_watchers 1\n# HELP nothing\n\nnonsense');
    expect(sampleBetween(parsed, parsed, 2, 0)).toMatchObject({
      callsPerSecond: 0,
      p50: undefined,
      poolBusy: undefined,
    });
  });
});

describe('a quantile', () => {
  it('lies in its bucket, over several series, and is at most the last bound', () => {
    const buckets = [
      ['le="0.1",method="a"', 5],
      ['le="0.2",method="a"', 10],
      ['le="+Inf",method="a"', 10],
      ['le="0.1",method="b"', 5],
      ['le="0.2",method="b"', 10],
      ['le="+Inf",method="b"', 10],
    ] as const;
    expect(quantile(0.5, buckets)).toBeCloseTo(0.1);
    expect(quantile(0.75, buckets)).toBeCloseTo(0.15);
    expect(
      quantile(0.99, [
        ['le="10"', 0],
        ['le="+Inf"', 3],
      ]),
    ).toBe(10);
    expect(quantile(0.5, [])).toBeUndefined();
  });
});
