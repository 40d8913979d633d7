import { describe, expect, it } from 'vitest';
import { createMetrics, type Metrics, metricsText, retainedCounters } from '../../src/telemetry/metrics.js';

async function linesOf(...metrics: Metrics[]): Promise<string[]> {
  return (await metricsText(await Promise.all(metrics.map((one) => one.snapshot())))).split('\n');
}

const get = 'users.v1.UserService/GetUser';

describe('the metrics', () => {
  it('contain calls by method, status and duration', async () => {
    const metrics = createMetrics();
    metrics.call(get, 'OK', 1);
    metrics.call(get, 'OK', 1.5);
    metrics.call(get, 'OK', 60_000);
    metrics.call(get, 'NOT_FOUND', 3);
    const lines = await linesOf(metrics);
    const name = 'roster_call_duration_seconds';
    expect(lines).toContain(`# TYPE ${name} histogram`);
    const labels = `method="${get}",status="OK"`;
    const buckets = lines.filter((line) => line.startsWith(`${name}_bucket`) && line.includes(labels));
    expect(buckets.map((line) => line.split(' ').at(-1))).toEqual('1 2 2 2 2 2 2 2 2 2 2 3'.split(' '));
    expect(buckets[0]).toContain('le="0.001"');
    expect(buckets.at(-1)).toContain('le="+Inf"');
    expect(lines).toContain(`${name}_sum{${labels}} 60.0025`);
    expect(lines).toContain(`${name}_count{${labels}} 3`);
    expect(lines).toContain(`${name}_count{method="${get}",status="NOT_FOUND"} 1`);
  });

  it('contain statements by number of calls, and imported rows by outcome', async () => {
    const metrics = createMetrics();
    metrics.batch('create', 3);
    metrics.batch('create', 5000);
    metrics.imported('created', 7);
    metrics.imported('created', 2);
    const lines = await linesOf(metrics);
    expect(lines).toContain('roster_batch_rows_bucket{le="2",statement="create"} 0');
    expect(lines).toContain('roster_batch_rows_bucket{le="4",statement="create"} 1');
    expect(lines).toContain('roster_batch_rows_bucket{le="4096",statement="create"} 1');
    expect(lines).toContain('roster_batch_rows_sum{statement="create"} 5003');
    expect(lines).toContain('roster_imported_rows_total{outcome="created"} 9');
  });

  it('read the observed sources on each scrape, and not before', async () => {
    const metrics = createMetrics();
    let queued = 3;
    metrics.observe({
      queues: {
        get: {
          get queued() {
            return queued;
          },
          inFlight: 1,
        },
      },
    });
    metrics.observe({ connections: () => ({ total: 5, idle: 2, waiting: 4 }), feed: { watcherCount: 6, lagMs: 250 } });
    metrics.observe({ housekeeping: { trimBlockerSeconds: 7200 } });
    expect(await linesOf(metrics)).toEqual(
      expect.arrayContaining([
        'roster_queued_calls{statement="get"} 3',
        'roster_statements_in_flight{statement="get"} 1',
        'roster_pool_connections{state="busy"} 3',
        'roster_pool_connections{state="idle"} 2',
        'roster_pool_waiting 4',
        'roster_watchers 6',
        'roster_change_log_lag_seconds 0.25',
        'roster_change_log_blocker_age_seconds 7200',
      ]),
    );
    queued = 0;
    expect(await linesOf(metrics)).toContain('roster_queued_calls{statement="get"} 0');
  });

  it('contain the process and its event loop', async () => {
    const lines = await linesOf(createMetrics());
    for (const name of [
      'process_cpu_seconds_total',
      'process_start_time_seconds',
      'process_resident_memory_bytes',
      'nodejs_heap_size_used_bytes',
    ]) {
      expect(Number(lines.find((line) => line.startsWith(`${name} `))?.split(' ')[1])).toBeGreaterThan(0);
    }
    expect(lines.filter((line) => /^nodejs_eventloop_lag_(?:p50|p99|max)_seconds /.test(line))).toHaveLength(3);
  });
});

describe('the metrics of the indexes for lists', () => {
  const index = { name: 'users_search', state: 'exists', built: 0, bytes: 8192, scans: 7 };

  it('show size and scans of each, and the progress of a build', async () => {
    const metrics = createMetrics();
    const built = { ...index, name: 'users_last_name_id', state: 'building', built: 0.25 };
    metrics.observe({ indexes: { status: () => [index, built] } });
    expect((await linesOf(metrics)).filter((line) => line.startsWith('roster_list_index'))).toEqual([
      'roster_list_index_size_bytes{index="users_search"} 8192',
      'roster_list_index_size_bytes{index="users_last_name_id"} 0',
      'roster_list_index_scans{index="users_search"} 7',
      'roster_list_index_scans{index="users_last_name_id"} 7',
      'roster_list_index_built_ratio{index="users_last_name_id"} 0.25',
    ]);
  });

  it('are not multiplied by the number of processes', async () => {
    const processes = [createMetrics(), createMetrics()];
    for (const metrics of processes) metrics.observe({ indexes: { status: () => [index] } });
    expect(await linesOf(...processes)).toContain('roster_list_index_scans{index="users_search"} 7');
  });
});

describe('the metrics of several processes', () => {
  it('are summed, or the maximum is used if a sum has no meaning', async () => {
    const [first, second] = [createMetrics(), createMetrics()];
    first.call(get, 'OK', 1);
    second.call(get, 'OK', 20);
    second.call(get, 'INTERNAL', 1);
    first.observe({ feed: { watcherCount: 1, lagMs: 1000 }, housekeeping: { trimBlockerSeconds: 60 } });
    second.observe({ feed: { watcherCount: 2, lagMs: 3000 }, housekeeping: { trimBlockerSeconds: 50 } });
    const lines = await linesOf(first, second);
    expect(lines).toContain(`roster_call_duration_seconds_count{method="${get}",status="OK"} 2`);
    expect(lines).toContain(`roster_call_duration_seconds_bucket{le="0.001",method="${get}",status="OK"} 1`);
    expect(lines).toContain(`roster_call_duration_seconds_count{method="${get}",status="INTERNAL"} 1`);
    expect(lines).toContain('roster_watchers 3');
    expect(lines).toContain('roster_change_log_lag_seconds 3');
    expect(lines).toContain('roster_change_log_blocker_age_seconds 60');
    expect(lines).toContain('roster_processes 2');
  });

  it('keep only the counters of processes that have exited', async () => {
    const [ended, living] = [createMetrics(), createMetrics()];
    ended.call(get, 'OK', 1);
    ended.imported('created', 5);
    ended.observe({ feed: { watcherCount: 1, lagMs: 1 } });
    living.call(get, 'OK', 1);
    const left = await retainedCounters([await retainedCounters([]), await ended.snapshot()]);
    const lines = (await metricsText([await living.snapshot(), left])).split('\n');
    expect(lines).toContain(`roster_call_duration_seconds_count{method="${get}",status="OK"} 2`);
    expect(lines).toContain('roster_imported_rows_total{outcome="created"} 5');
    expect(lines).toContain('roster_watchers 0');
    expect(lines).toContain('roster_processes 1');
  });

  it('can be sent between processes', async () => {
    const metrics = createMetrics();
    metrics.call(get, 'OK', 1);
    const snapshot = await metrics.snapshot();
    expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot);
  });
});
