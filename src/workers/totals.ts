/** Adds up the metrics of all processes. */
import { type Metrics, type MetricsSnapshot, metricsText, retainedCounters } from '../telemetry/metrics.js';
import type { WorkerProcess } from './worker-process.js';

/** The part of a worker that the totals use. */
export type Counted = Pick<WorkerProcess, 'ended' | 'snapshot'>;

export interface Totals {
  add(worker: Counted): void;
  /**
   * In Prometheus' text format. It includes the counters of workers that have ended: their final values if they closed
   * cleanly, otherwise the values of the last scrape.
   */
  text(): Promise<string>;
}

/** `own` are the metrics of this process. */
export function createTotals(own: Metrics): Totals {
  const workers = new Set<Counted>();
  // A promise, so that a worker is always counted in exactly one of the two.
  let left: Promise<MetricsSnapshot> = Promise.resolve([]);
  return {
    add(worker) {
      workers.add(worker);
      void worker.ended.then(() => {
        workers.delete(worker);
        left = Promise.all([left, worker.snapshot()]).then(retainedCounters);
      });
    },

    async text() {
      return metricsText(await Promise.all([own.snapshot(), left, ...[...workers].map((worker) => worker.snapshot())]));
    },
  };
}
