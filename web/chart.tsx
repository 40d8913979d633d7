/** A small chart of the last minutes: lines for the eye, and the same as text for everybody. Draws nothing of its own accord. */
import type { ComponentChildren } from 'preact';

export interface Line {
  readonly label: string;
  /** One for each time, undefined where nothing is known: there the line has a gap. */
  readonly values: readonly (number | undefined)[];
}

export interface ChartProps {
  readonly title: string;
  readonly lines: readonly Line[];
  /** When the values are of, in milliseconds, growing. */
  readonly times: readonly number[];
  /** How long the chart reaches back from the last of them. */
  readonly spanMs: number;
  format(value: number): string;
  /** What the scale has round numbers of; 1 unless told. */
  readonly unit?: number;
  /** Below the chart. */
  readonly children?: ComponentChildren;
}

// In the units of the picture, which is stretched to its place.
const width = 300;
const height = 72;

export function Chart({ title, lines, times, spanMs, format, unit = 1, children }: ChartProps) {
  const endMs = times.at(-1) ?? 0;
  const highest = Math.max(0, ...lines.flatMap(({ values }) => values.filter((value) => value !== undefined)));
  const top = unit * niceTop(highest / unit);
  const x = (atMs: number) => width * (1 - (endMs - atMs) / spanMs);
  const y = (value: number) => height * (1 - value / top);
  const nows = lines.map(({ label, values }) => ({ label, now: values.at(-1) }));
  const summary = nows
    .map(({ label, now }) => `${label === '' ? '' : `${label} `}${now === undefined ? 'nothing' : format(now)}`)
    .join(', ');
  return (
    <section class="card chart" aria-label={title}>
      <h3>{title}</h3>
      <p class="chart-now">
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
          aria-label={`${title} in the last ${sayMs(spanMs)}: now ${summary}; at most ${format(highest)}.`}
        >
          <path class="chart-grid" d={`M0 ${height / 2}H${width}M0 0.5H${width}M0 ${height - 0.5}H${width}`} />
          {lines.map(({ label, values }, index) =>
            segmentsOf(values).map((segment) => (
              <polyline
                key={`${label} ${times[segment.from]}`}
                class="chart-line"
                data-line={index}
                points={segment.values
                  .map((value, at) => `${x(times[segment.from + at] ?? 0).toFixed(1)},${y(value).toFixed(1)}`)
                  .join(' ')}
              />
            )),
          )}
        </svg>
      </div>
      <p class="chart-times faint" aria-hidden="true">
        <span>{sayMs(spanMs)} ago</span>
        <span>now</span>
      </p>
      {children}
    </section>
  );
}

function sayMs(ms: number): string {
  return ms < 120_000 ? `${Math.round(ms / 1000)} seconds` : `${Math.round(ms / 60_000)} minutes`;
}

/** Runs of values without a gap. A value alone is drawn as a dot: a line to itself, with round ends. */
function segmentsOf(values: readonly (number | undefined)[]): { from: number; values: number[] }[] {
  const segments: { from: number; values: number[] }[] = [];
  let open: { from: number; values: number[] } | undefined;
  values.forEach((value, at) => {
    if (value === undefined) {
      open = undefined;
      return;
    }
    if (open === undefined) {
      open = { from: at, values: [] };
      segments.push(open);
    }
    open.values.push(value);
  });
  return segments.map((segment) =>
    segment.values.length > 1 ? segment : { ...segment, values: [...segment.values, ...segment.values] },
  );
}

/** The next of 1, 2 and 5 with its zeros, so that the scale does not twitch with each value. */
function niceTop(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((step) => step * power >= value * 0.999) ?? 10) * power;
}
