/** The steps of an action on many users: its form, its progress and its report. */
import { useEffect, useState } from 'preact/hooks';
import { useUnsavedGuard } from '../ui/unsaved-guard.js';
import type { BulkProgress, BulkReport } from './bulk-run.js';

export type BulkStep =
  | { readonly kind: 'form' }
  | { readonly kind: 'running'; readonly progress: BulkProgress; readonly isWaiting: boolean }
  | { readonly kind: 'report'; readonly report: BulkReport };

export interface RunOptions {
  readonly signal: AbortSignal;
  onProgress(progress: BulkProgress): void;
  onWaiting(isWaiting: boolean): void;
}

export function useBulk() {
  const [step, setStep] = useState<BulkStep>({ kind: 'form' });
  const [stopping, setStopping] = useState<AbortController>();

  // Change no more users after the dialog is removed.
  useEffect(() => () => stopping?.abort(), [stopping]);
  // A blocked step does nothing, because the Stop button ends the action and then shows the report.
  useUnsavedGuard(step.kind === 'running', { onLeave() {} });

  return {
    step,
    isStopping: stopping?.signal.aborted === true,
    stop: () => stopping?.abort(),
    /** Shows the progress of `run`, and then its report. */
    async start(run: (options: RunOptions) => Promise<BulkReport>): Promise<BulkReport> {
      const controller = new AbortController();
      setStopping(controller);
      let progress: BulkProgress = { changed: 0, unchanged: 0, failed: 0 };
      let isWaiting = false;
      const show = () => setStep({ kind: 'running', progress, isWaiting });
      show();
      const report = await run({
        signal: controller.signal,
        onProgress(next) {
          progress = next;
          show();
        },
        onWaiting(next) {
          isWaiting = next;
          show();
        },
      });
      setStep({ kind: 'report', report });
      return report;
    },
  };
}
