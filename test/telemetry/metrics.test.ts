import { readFileSync } from 'node:fs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startApp } from '../../src/app.js';
import { parseServerConfig } from '../../src/config/parse.js';
import { findPort } from '../../src/net/listen.js';
import { createMetrics, type Metrics, metricsText, retainedCounters } from '../../src/telemetry/metrics.js';
import { startWorkers } from '../../src/workers/start-workers.js';

async function linesOf(...metrics: Metrics[]): Promise<string[]> {
  return (await metricsText(await Promise.all(metrics.map((one) => one.snapshot())))).split('\n');
}

const get = 'users.v1.UserService/GetUser';

const anyPort = { host: '127.0.0.1', port: 0 };

const callLabels = (status: string) =>
  `rpc_system_name="grpc",rpc_method="${get}",rpc_response_status_code="${status}"`;

describe('the metrics', () => {
  it('contain calls by method, status and duration', async () => {
    const metrics = createMetrics();
    metrics.call(get, 'OK', 1);
    metrics.call(get, 'OK', 1.5);
    metrics.call(get, 'OK', 60_000);
    metrics.call(get, 'NOT_FOUND', 3);
    const lines = await linesOf(metrics);
    const name = 'rpc_server_call_duration_seconds';
    expect(lines).toContain(`# TYPE ${name} histogram`);
    const labels = callLabels('OK');
    const buckets = lines.filter((line) => line.startsWith(`${name}_bucket`) && line.includes(labels));
    expect(buckets.map((line) => line.split(' ').at(-1))).toEqual('1 2 2 2 2 2 2 2 2 2 2 2 3'.split(' '));
    expect(buckets[0]).toContain('le="0.001"');
    expect(buckets.at(-1)).toContain('le="+Inf"');
    expect(lines).toContain(`${name}_sum{${labels}} 60.0025`);
    expect(lines).toContain(`${name}_count{${labels}} 3`);
    expect(lines).toContain(`${name}_count{${callLabels('NOT_FOUND')}} 1`);
  });

  it('mark the statuses that are an error of the server', async () => {
    const metrics = createMetrics();
    for (const status of ['OK', 'NOT_FOUND', 'CANCELLED', 'UNAVAILABLE', 'INTERNAL']) metrics.call(get, status, 1);
    const errors = (await linesOf(metrics)).filter((line) => /_count\{.*error_type=/.test(line));
    expect(errors.map((line) => /error_type="(\w+)"/.exec(line)?.[1])).toEqual(['UNAVAILABLE', 'INTERNAL']);
  });

  it('contain statements by number of calls, and imported rows by outcome', async () => {
    const metrics = createMetrics();
    metrics.batch('create', 3);
    metrics.batch('create', 5000);
    metrics.statement('create', 4);
    metrics.imported('created', 7);
    metrics.imported('created', 2);
    const lines = await linesOf(metrics);
    expect(lines).toContain('roster_batch_rows_bucket{le="2",statement="create"} 0');
    expect(lines).toContain('roster_batch_rows_bucket{le="4",statement="create"} 1');
    expect(lines).toContain('roster_batch_rows_bucket{le="4096",statement="create"} 1');
    expect(lines).toContain('roster_batch_rows_sum{statement="create"} 5003');
    expect(lines).toContain('roster_statement_duration_seconds_bucket{le="0.005",statement="create"} 1');
    expect(lines).toContain('roster_statement_duration_seconds_sum{statement="create"} 0.004');
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
    metrics.observe({ connections: () => ({ total: 5, idle: 2, waiting: 4, max: 18 }) });
    metrics.observe({ feed: { watcherCount: 6, lagMs: 250 }, housekeeping: { trimBlockerSeconds: 7200 } });
    metrics.observe({ callsInFlight: () => ({ [get]: 3 }), heldBytes: () => ({ total: 10, max: 20 }) });
    metrics.observe({ database: { isUp: false }, certificateExpiry: () => 1795737600, workerExits: () => 2 });
    metrics.observe({ timelines: { timeline: 3 }, hostWatch: { primaries: 2 } });
    metrics.observe({ tables: { sizes: () => [{ table: 'changes', rows: 8, bytes: 8192 }] } });
    expect(await linesOf(metrics)).toEqual(
      expect.arrayContaining([
        'roster_queued_calls{statement="get"} 3',
        'roster_statements_in_flight{statement="get"} 1',
        'roster_pool_connections{state="busy"} 3',
        'roster_pool_connections{state="idle"} 2',
        'roster_pool_connections_max 18',
        'roster_pool_waiting_statements 4',
        `roster_calls_in_flight{rpc_method="${get}"} 3`,
        'roster_held_bytes 10',
        'roster_held_bytes_max 20',
        'roster_database_up 0',
        'roster_database_timeline 3',
        'roster_database_primaries 2',
        'roster_certificate_expiry_timestamp_seconds 1795737600',
        'roster_worker_exits_total 2',
        'roster_table_rows{table="changes"} 8',
        'roster_table_size_bytes{table="changes"} 8192',
        'roster_watchers 6',
        'roster_change_log_lag_seconds 0.25',
        'roster_change_log_blocker_age_seconds 7200',
      ]),
    );
    queued = 0;
    expect(await linesOf(metrics)).toContain('roster_queued_calls{statement="get"} 0');
  });

  it('do not show parts that the process does not have', async () => {
    const series = (await linesOf(createMetrics())).filter((line) => /^\w/.test(line));
    expect(series.filter((line) => line.startsWith('roster_')).map((line) => line.split(/[{ ]/)[0])).toEqual([
      'roster_processes',
      'roster_build_info',
    ]);
  });

  it('are all in the table of docs/operations.md, which has no others', async () => {
    const text = readFileSync('docs/operations.md', 'utf8').split('## Metrics')[1]?.split('\n## ')[0] ?? '';
    const rows = text.split('\n').filter((line) => line.startsWith('| `'));
    const documented = rows.flatMap((row) =>
      [...(row.split('|')[1] ?? '').matchAll(/`(\w+)`/g)].map(([, name]) => name),
    );
    const names = (await createMetrics().snapshot()).map(({ name }) => name);
    expect(documented.toSorted()).toEqual(names.toSorted());
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
      'roster_list_index_scans_total{index="users_search"} 7',
      'roster_list_index_scans_total{index="users_last_name_id"} 7',
      'roster_list_index_built_ratio{index="users_last_name_id"} 0.25',
      'roster_list_index_state{index="users_search",state="exists"} 1',
      'roster_list_index_state{index="users_search",state="missing"} 0',
      'roster_list_index_state{index="users_search",state="building"} 0',
      'roster_list_index_state{index="users_search",state="unusable"} 0',
      'roster_list_index_state{index="users_last_name_id",state="exists"} 0',
      'roster_list_index_state{index="users_last_name_id",state="missing"} 0',
      'roster_list_index_state{index="users_last_name_id",state="building"} 1',
      'roster_list_index_state{index="users_last_name_id",state="unusable"} 0',
    ]);
  });

  it('are not multiplied by the number of processes', async () => {
    const processes = [createMetrics(), createMetrics()];
    for (const metrics of processes) metrics.observe({ indexes: { status: () => [index] } });
    expect(await linesOf(...processes)).toContain('roster_list_index_scans_total{index="users_search"} 7');
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
    first.observe({ database: { isUp: true }, certificateExpiry: () => 200 });
    second.observe({ database: { isUp: false }, certificateExpiry: () => 100 });
    // The parent of workers, which has no database and no calls.
    const lines = await linesOf(createMetrics(), first, second);
    const name = 'rpc_server_call_duration_seconds';
    expect(lines).toContain(`${name}_count{${callLabels('OK')}} 2`);
    expect(lines).toContain(`${name}_bucket{le="0.001",${callLabels('OK')}} 1`);
    expect(lines).toContain(`${name}_count{${callLabels('INTERNAL')},error_type="INTERNAL"} 1`);
    expect(lines).toContain('roster_database_up 0');
    expect(lines).toContain('roster_certificate_expiry_timestamp_seconds 100');
    expect(lines.filter((line) => /^roster_build_info\{.*\} 1$/.test(line))).toHaveLength(1);
    expect(lines).toContain('roster_watchers 3');
    expect(lines).toContain('roster_change_log_lag_seconds 3');
    expect(lines).toContain('roster_change_log_blocker_age_seconds 60');
    expect(lines).toContain('roster_processes 3');
  });

  it('keep only the counters of processes that have exited', async () => {
    const [ended, living] = [createMetrics(), createMetrics()];
    ended.call(get, 'OK', 1);
    ended.imported('created', 5);
    const index = { name: 'users_search', state: 'exists', built: 0, bytes: 8192 };
    ended.observe({ feed: { watcherCount: 1, lagMs: 1 }, indexes: { status: () => [{ ...index, scans: 9 }] } });
    living.observe({ feed: { watcherCount: 0, lagMs: 0 }, indexes: { status: () => [{ ...index, scans: 1 }] } });
    living.call(get, 'OK', 1);
    const left = await retainedCounters([await retainedCounters([]), await ended.snapshot()]);
    const lines = (await metricsText([await living.snapshot(), left])).split('\n');
    expect(lines).toContain(`rpc_server_call_duration_seconds_count{${callLabels('OK')}} 2`);
    // Every process reads this counter from the database, which may have reset it meanwhile.
    expect(lines).toContain('roster_list_index_scans_total{index="users_search"} 1');
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

  it.each([
    ['one process', startApp],
    ['workers', startWorkers],
  ])('say that the database is down while the start of %s waits for it', async (_, start) => {
    const [http, database] = await Promise.all([findPort(anyPort), findPort(anyPort)]);
    const config = parseServerConfig({
      DATABASE_URL: `postgres://roster@127.0.0.1:${database}/roster`,
      GRPC_ADDRESS: '127.0.0.1:0',
      HTTP_ADDRESS: `127.0.0.1:${http}`,
      LOG_LEVEL: 'error',
    });
    const stop = new AbortController();
    const starting = start(config, { signal: stop.signal });
    onTestFinished(async () => {
      stop.abort();
      await expect(starting).rejects.toThrow();
    });
    const scrape = async () => (await fetch(`http://127.0.0.1:${http}/metrics`)).text();
    await vi.waitFor(async () => expect(await scrape()).toContain('\nroster_database_up 0\n'), { timeout: 30_000 });
  });
});
