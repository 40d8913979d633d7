/**
 * Shows charts of the server's metrics. Requests the metrics every two seconds while the page is visible, and keeps
 * those of the last five minutes.
 */
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { Directory } from '../calls/directory.js';
import { ScrollRegion } from '../ui/scroll-region.js';
import { Chart, type Line } from './chart.js';
import { IndexTable } from './index-table.js';
import { type Metrics, type MetricsSample, parseMetrics, sampleBetween } from './metrics.js';

const pollEveryMs = 2_000;
const spanMs = 300_000;
// With less than five minutes of samples, the charts show only their period, but at least a minute.
const spanMsMin = 60_000;
// A response that takes longer is too old for the time at which it is drawn.
const responseMsMax = 5_000;
// The time between the rows of the table, because more rows are hard to read.
const tableEveryMs = 10_000;
// A reader cannot distinguish the colours of more lines.
const statementsMax = 4;

/** Returns the metrics, or a message for the user if they cannot be read. */
async function readMetrics(directory: Directory, path: string): Promise<Metrics | string> {
  try {
    const response = await directory.fetch(path, responseMsMax);
    if (response.status === 401 || response.status === 403) return 'You may not see the server’s metrics.';
    if (!response.ok) return `The server returned no metrics (HTTP ${response.status}).`;
    // A proxy may send a page of its own, such as a sign-in page.
    const type = response.headers.get('content-type') ?? '';
    if (!/^(?:text\/plain|application\/openmetrics-text)/.test(type)) return 'The response did not come from Roster.';
    return parseMetrics(await response.text());
  } catch {
    return 'Cannot reach the server’s metrics.';
  }
}

interface State {
  readonly samples: readonly MetricsSample[];
  /** Why the last request failed; empty if it succeeded. */
  readonly problem: string;
}

function useSamples(directory: Directory, path: string): State {
  const [state, setState] = useState<State>({ samples: [], problem: '' });
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let before: { metrics: Metrics; atMs: number } | undefined;
    let isUnmounted = false;

    async function poll(): Promise<void> {
      const metrics = await readMetrics(directory, path);
      if (isUnmounted) return;
      if (typeof metrics === 'string') {
        setState(({ samples }) => ({
          samples,
          problem: samples.length === 0 ? metrics : `${metrics} The charts show older data.`,
        }));
      } else {
        const last = before;
        const now = { metrics, atMs: Date.now() };
        before = now;
        if (last !== undefined && now.atMs > last.atMs) {
          const sample = sampleBetween(last.metrics, now.metrics, (now.atMs - last.atMs) / 1000, now.atMs);
          setState(({ samples }) => ({
            samples: [...samples.filter(({ atMs }) => atMs > now.atMs - spanMs), sample],
            problem: '',
          }));
        }
      }
      // If the page was hidden for a moment, another poll may have begun. Only one continues.
      clearTimeout(timer);
      // The next poll starts after the response, so that a slow server never handles two at a time.
      if (document.visibilityState === 'visible') timer = setTimeout(poll, pollEveryMs);
    }

    function onVisibility(): void {
      clearTimeout(timer);
      if (document.visibilityState === 'visible') void poll();
    }

    onVisibility();
    document.addEventListener('visibilitychange', onVisibility);
    return () => {
      isUnmounted = true;
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', onVisibility);
    };
  }, [directory, path]);
  return state;
}

const plain = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });

function formatNumber(value: number): string {
  return value >= 100 ? new Intl.NumberFormat().format(Math.round(value)) : plain.format(value);
}

const twoDigits = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 2 });

function formatProcessors(value: number): string {
  return value > 0 && value < 0.01 ? `< ${twoDigits.format(0.01)}` : twoDigits.format(value);
}

function formatSeconds(seconds: number): string {
  return seconds < 1 ? `${plain.format(seconds * 1000)} ms` : `${plain.format(seconds)} s`;
}

const mebibyte = 1_048_576;

function formatMebibytes(bytes: number): string {
  return `${plain.format(bytes / mebibyte)} MiB`;
}

export interface MetricsViewProps {
  readonly directory: Directory;
  /** How many users the directory has; undefined if it is not known. */
  readonly users: number | undefined;
}

export function MetricsView({ directory, users }: MetricsViewProps) {
  const { samples, problem } = useSamples(directory, '/metrics');
  const times = samples.map(({ atMs }) => atMs);
  const last = samples.at(-1);
  const line = (label: string, read: (sample: MetricsSample) => number | undefined): Line => ({
    label,
    values: samples.map(read),
  });
  const shownMs = Math.min(spanMs, Math.max(spanMsMin, (times.at(-1) ?? 0) - (times[0] ?? 0)));
  const chart = { times, spanMs: shownMs };

  const statements = useMemo(() => {
    const seen = new Map<string, number>();
    for (const { batchRows } of samples) for (const name of batchRows.keys()) seen.set(name, (seen.get(name) ?? 0) + 1);
    return [...seen]
      .sort(([, a], [, b]) => b - a)
      .slice(0, statementsMax)
      .map(([name]) => name)
      .sort();
  }, [samples]);

  return (
    <main class="metrics-view" aria-labelledby="metrics-title">
      <header class="line wrap">
        <h2 id="metrics-title">Metrics</h2>
        <p class="faint">All processes of the service together, last five minutes</p>
      </header>
      <p class="notice danger" role="status">
        {problem}
      </p>
      {last === undefined ? (
        <p class="soft" role="status">
          {problem === '' ? 'Waiting for the first metrics…' : ''}
        </p>
      ) : (
        <>
          <div class="charts">
            <Chart
              {...chart}
              title="Calls per second"
              hint="All requests, and those that failed"
              lines={[line('All', (s) => s.callsPerSecond), line('Failed', (s) => s.failedPerSecond)]}
              format={formatNumber}
            />
            <Chart
              {...chart}
              title="Latency of calls"
              hint="95% of the calls are faster than p95"
              unit={0.001}
              lines={[line('p50', (s) => s.p50), line('p95', (s) => s.p95)]}
              format={formatSeconds}
            />
            <Chart
              {...chart}
              title="Calls per statement"
              hint="How many calls share one SQL statement"
              lines={statements.map((name) => line(name, (s) => s.batchRows.get(name)))}
              format={formatNumber}
            />
            <Chart
              {...chart}
              title="Watchers"
              hint="Clients that follow changes live"
              lines={[line('', (s) => s.watchers)]}
              format={formatNumber}
            >
              {last.changeLogLag === undefined ? null : (
                <p class="hint numeric">The change log is {formatSeconds(last.changeLogLag)} behind.</p>
              )}
            </Chart>
            <Chart
              {...chart}
              title="Database connections"
              hint="Statements wait if all are busy"
              lines={[
                line('Busy', (s) => s.poolBusy),
                line('Idle', (s) => s.poolIdle),
                line('Waiting', (s) => s.poolWaiting),
              ]}
              format={formatNumber}
            />
            <Chart
              {...chart}
              title="Event-loop delay"
              hint="How late due work starts in a process"
              unit={0.001}
              lines={[line('p99', (s) => s.loopDelay)]}
              format={formatSeconds}
            />
            <Chart
              {...chart}
              title="CPUs in use"
              hint="1 means one fully used core"
              lines={[line('', (s) => s.processors)]}
              format={formatProcessors}
            />
            <Chart
              {...chart}
              title="Memory"
              hint="Of the service, without Postgres"
              unit={mebibyte}
              lines={[line('', (s) => s.memoryBytes)]}
              format={formatMebibytes}
            />
          </div>
          {last.indexes.length > 0 && <IndexTable indexes={last.indexes} users={users} />}
          <MetricsTable samples={samples} />
        </>
      )}
    </main>
  );
}

const timeFormat = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });

/** Builds the rows only while the table is open. */
function MetricsTable({ samples }: { samples: readonly MetricsSample[] }) {
  const [isOpen, setOpen] = useState(false);
  const rows: MetricsSample[] = [];
  if (isOpen) {
    for (const sample of samples.toReversed()) {
      const newer = rows.at(-1);
      if (newer === undefined || newer.atMs - sample.atMs >= tableEveryMs) rows.push(sample);
    }
  }
  const show = (value: number | undefined, format: (value: number) => string) =>
    value === undefined ? '–' : format(value);
  return (
    <details class="metrics" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Show as a table</summary>
      <ScrollRegion class="metrics-table" label="Metrics as a table">
        <table class="table numeric">
          <thead>
            <tr>
              {[
                'Time',
                'Calls/s',
                'Failed/s',
                'p50',
                'p95',
                'Calls per statement',
                'Watchers',
                'Busy',
                'Idle',
                'Loop delay',
                'Memory',
              ].map((title) => (
                <th key={title} scope="col">
                  {title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((sample) => (
              <tr key={sample.atMs}>
                <th scope="row">{timeFormat.format(sample.atMs)}</th>
                <td>{formatNumber(sample.callsPerSecond)}</td>
                <td>{formatNumber(sample.failedPerSecond)}</td>
                <td>{show(sample.p50, formatSeconds)}</td>
                <td>{show(sample.p95, formatSeconds)}</td>
                <td>
                  {[...sample.batchRows].map(([name, size]) => `${name} ${formatNumber(size)}`).join(', ') || '–'}
                </td>
                <td>{show(sample.watchers, formatNumber)}</td>
                <td>{show(sample.poolBusy, formatNumber)}</td>
                <td>{show(sample.poolIdle, formatNumber)}</td>
                <td>{show(sample.loopDelay, formatSeconds)}</td>
                <td>{show(sample.memoryBytes, formatMebibytes)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollRegion>
    </details>
  );
}
