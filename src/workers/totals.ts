/** Adds up the metrics of the parent and of all its workers. */
import { type Metrics, type MetricsSnapshot, metricsText, retainedCounters } from '../telemetry/metrics.js';
import type { WorkerProcess } from './worker-process.js';

/** The part of a worker that the totals use. */
type CountedWorker = Pick<WorkerProcess, 'ended' | 'snapshot'>;

export interface Totals {
  add(worker: CountedWorker): void;
  /**
   * In Prometheus' text format. It includes the counters of workers that have ended: their final values if they closed
   * cleanly, otherwise the values of the last scrape.
   */
  text(): Promise<string>;
}

/** `own` are the metrics of this process. */
export function createTotals(own: Metrics): Totals {
  const workers = new Set<CountedWorker>();
  // The counters of workers that have ended. It is a promise, so that each worker is counted either here or in `workers`.
  let endedCounters: Promise<MetricsSnapshot> = Promise.resolve([]);
  return {
    add(worker) {
      workers.add(worker);
      void worker.ended.then(() => {
        workers.delete(worker);
        endedCounters = Promise.all([endedCounters, worker.snapshot()]).then(retainedCounters);
      });
    },

    async text() {
      return metricsText(
        await Promise.all([own.snapshot(), endedCounters, ...[...workers].map((worker) => worker.snapshot())]),
      );
    },
  };
}
