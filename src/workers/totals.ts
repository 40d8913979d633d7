/** The figures of all processes, added up. */
import { type Figures, figuresLeft, figuresText, type Metrics } from '../telemetry/metrics.js';
import type { WorkerProcess } from './worker-process.js';

/** What is asked of a worker. */
export type Counted = Pick<WorkerProcess, 'ended' | 'figures'>;

export interface Totals {
  add(worker: Counted): void;
  /**
   * As Prometheus reads it. Counters of workers that have ended stay in it: all that they counted where they closed, else
   * what they had when this was asked last.
   */
  text(): Promise<string>;
}

/** `own` are the figures of the process that adds up. */
export function createTotals(own: Metrics): Totals {
  const workers = new Set<Counted>();
  // A promise, so that a worker is in exactly one of the two at any time.
  let left: Promise<Figures> = Promise.resolve([]);
  return {
    add(worker) {
      workers.add(worker);
      void worker.ended.then(() => {
        workers.delete(worker);
        left = Promise.all([left, worker.figures()]).then(figuresLeft);
      });
    },

    async text() {
      return figuresText(await Promise.all([own.figures(), left, ...[...workers].map((worker) => worker.figures())]));
    },
  };
}
