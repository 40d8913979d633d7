/**
 * The histogram of the durations of calls, in the form in which prom-client exports its own. prom-client's Histogram takes
 * about a microsecond for each observation, because it builds a key of all labels.
 */
import { Histogram } from 'prom-client';

export interface CallDurationsOptions {
  readonly name: string;
  readonly help: string;
  readonly secondsBounds: readonly number[];
  /** Called once for each method and status. */
  labelsOf(method: string, status: string): Readonly<Record<string, string>>;
}

interface Series {
  readonly labels: Readonly<Record<string, string>>;
  /** The number of calls in each bucket. Those above the last bound are only in `count`. */
  readonly counts: number[];
  count: number;
  sumMs: number;
}

export class CallDurations {
  readonly #series = new Map<string, Map<string, Series>>();

  constructor(private readonly options: CallDurationsOptions) {}

  observe(method: string, status: string, durationMs: number): void {
    const series = this.#series.get(method)?.get(status) ?? this.#open(method, status);
    series.count++;
    series.sumMs += durationMs;
    const index = this.options.secondsBounds.findIndex((bound) => durationMs <= bound * 1000);
    if (index >= 0) series.counts[index] = (series.counts[index] ?? 0) + 1;
  }

  #open(method: string, status: string): Series {
    const { secondsBounds, labelsOf } = this.options;
    const labels = labelsOf(method, status);
    const series: Series = { labels, counts: secondsBounds.map(() => 0), count: 0, sumMs: 0 };
    const ofMethod = this.#series.get(method) ?? new Map<string, Series>();
    this.#series.set(method, ofMethod.set(status, series));
    return series;
  }

  /** Returns what `get` of prom-client's Histogram would return. */
  async snapshot() {
    const { name, help } = this.options;
    const empty = await new Histogram({ name, help, registers: [] }).get();
    const all = [...this.#series.values()].flatMap((ofMethod) => [...ofMethod.values()]);
    return { ...empty, values: all.flatMap((series) => this.#valuesOf(series)) };
  }

  #valuesOf({ labels, counts, count, sumMs }: Series) {
    const { name, secondsBounds } = this.options;
    let below = 0;
    const buckets = secondsBounds.map((le, index) => {
      below += counts[index] ?? 0;
      return { metricName: `${name}_bucket`, value: below, labels: { le, ...labels } };
    });
    return [
      ...buckets,
      { metricName: `${name}_bucket`, value: count, labels: { le: '+Inf', ...labels } },
      { metricName: `${name}_sum`, value: sumMs / 1000, labels: { ...labels } },
      { metricName: `${name}_count`, value: count, labels: { ...labels } },
    ];
  }
}
