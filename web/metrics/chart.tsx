/** A small line chart of the last minutes, with a description for screen readers. */
import type { ComponentChildren } from 'preact';

export interface Line {
  readonly label: string;
  /** One value for each time. The line has a gap at a value that is undefined. */
  readonly values: readonly (number | undefined)[];
}

export interface ChartProps {
  readonly title: string;
  /** Explains the chart to readers who are new to the server. */
  readonly hint: string;
  readonly lines: readonly Line[];
  /** The times of the values in milliseconds, in ascending order. */
  readonly times: readonly number[];
  /** The period that the chart shows, up to the last of the times. */
  readonly spanMs: number;
  format(value: number): string;
  /** The scale ends at a round number of this unit. The default is 1. */
  readonly unit?: number;
  readonly children?: ComponentChildren;
}

// In the SVG's own units. CSS stretches it.
const width = 300;
const height = 72;

export function Chart({ title, hint, lines, times, spanMs, format, unit = 1, children }: ChartProps) {
  const endMs = times.at(-1) ?? 0;
  const highest = Math.max(0, ...lines.flatMap(({ values }) => values.filter((value) => value !== undefined)));
  const top = unit * roundUp(highest / unit);
  const x = (atMs: number) => width * (1 - (endMs - atMs) / spanMs);
  const y = (value: number) => height * (1 - value / top);
  const nows = lines.map(({ label, values }) => ({ label, now: values.at(-1) }));
  const summary = nows
    .map(({ label, now }) => `${label === '' ? '' : `${label} `}${now === undefined ? 'no data' : format(now)}`)
    .join(', ');
  return (
    <section class="card chart" aria-label={title}>
      <h3>{title}</h3>
      <p class="faint">{hint}</p>
      <p class="chart-now">
        {nows.length === 0 && <strong>–</strong>}
        {nows.map(({ label, now }, index) => (
          <span key={label}>
            {label === '' ? null : (
              <span class="chart-key" data-line={index}>
                {label}{' '}
              </span>
            )}
            <strong class="numeric">{now === undefined ? '–' : format(now)}</strong>
          </span>
        ))}
      </p>
      <div class="chart-frame">
        <span class="chart-top faint numeric" aria-hidden="true">
          {format(top)}
        </span>
        <svg
          viewBox={`0 0 ${width} ${height}`}
          preserveAspectRatio="none"
          role="img"
          aria-label={`${title} in the last ${formatPeriod(spanMs)}: now ${summary}; maximum ${format(highest)}.`}
        >
          <path class="chart-grid" d={`M0 ${height / 2}H${width}M0 0.5H${width}M0 ${height - 0.5}H${width}`} />
          {lines.map(({ label, values }, index) =>
            segmentsOf(times, values).map((points) => (
              <polyline
                key={`${label} ${points[0]?.atMs}`}
                class="chart-line"
                data-line={index}
                points={points.map(({ atMs, value }) => `${x(atMs).toFixed(1)},${y(value).toFixed(1)}`).join(' ')}
              />
            )),
          )}
        </svg>
      </div>
      <p class="chart-times faint" aria-hidden="true">
        <span>{formatPeriod(spanMs)} ago</span>
        <span>now</span>
      </p>
      {children}
    </section>
  );
}

function formatPeriod(ms: number): string {
  return ms < 120_000 ? `${Math.round(ms / 1000)} seconds` : `${Math.round(ms / 60_000)} minutes`;
}

interface Point {
  readonly atMs: number;
  readonly value: number;
}

/** Splits the values at the gaps. A single point is repeated, because a line with round ends draws it as a dot. */
function segmentsOf(times: readonly number[], values: readonly (number | undefined)[]): Point[][] {
  const segments: Point[][] = [[]];
  values.forEach((value, at) => {
    if (value === undefined) segments.push([]);
    else segments.at(-1)?.push({ atMs: times[at] ?? 0, value });
  });
  return segments
    .filter((points) => points.length > 0)
    .map((points) => (points.length > 1 ? points : [...points, ...points]));
}

/** Rounds up to 1, 2 or 5 times a power of ten, so that the scale does not change with each value. */
function roundUp(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value * 0.999) ?? 10) * power;
}
