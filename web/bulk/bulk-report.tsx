/** The progress of an action on many users, and at its end the users for whom it failed. */
import { useId } from 'preact/hooks';
import { usersText } from '../calls/bulk-target.js';
import { withoutFormula } from '../export/export-format.js';
import { formatLine } from '../text/csv-line.js';
import { formatCount } from '../text/format.js';
import { BreakableText } from '../ui/breakable-text.js';
import { Dialog } from '../ui/dialog.js';
import { download } from '../ui/download.js';
import { ScrollRegion } from '../ui/scroll-region.js';
import type { FailedUser } from '../ui/toasts.js';
import type { BulkProgress, BulkReport } from './bulk-run.js';

export interface BulkRunningProps {
  /** Such as “Deleting”. */
  readonly activity: string;
  readonly progress: BulkProgress;
  /** Undefined if it is not known. */
  readonly count: number | undefined;
  readonly isWaiting: boolean;
}

export function BulkRunning({
  activity,
  progress: { changed, unchanged, failed },
  count,
  isWaiting,
}: BulkRunningProps) {
  const id = useId();
  const done = changed + unchanged + failed;
  return (
    <>
      <p id={id} class="numeric" tabIndex={-1} data-first>
        {activity}: {formatCount(done)}
        {count === undefined ? '' : ` of ${formatCount(count)}`} done
        {failed === 0 ? '' : `, ${formatCount(failed)} failed`}
      </p>
      <progress class="progress" aria-labelledby={id} {...(count !== undefined && { max: count, value: done })} />
      <p class={isWaiting ? 'notice warning' : 'notice'} role="status">
        {isWaiting ? 'The server does not accept changes at the moment. The work continues when it does.' : ''}
      </p>
    </>
  );
}

export interface BulkResultProps {
  readonly report: BulkReport;
  /** Such as “deleted”. */
  readonly participle: string;
  /** The number of users of the whole action; undefined if it is not known. */
  readonly total: number | undefined;
  /** For how many of them it was not tried. */
  readonly left: number;
}

// The file has all.
const shownMax = 100;

export function BulkResult({ report, participle, total, left }: BulkResultProps) {
  const { changed, unchanged, failures, isWhole, problem } = report;
  const isPart = left > 0 && total !== undefined;
  const isGood = isWhole && failures.length === 0;
  return (
    <>
      <p class={isGood ? 'notice success' : 'notice warning'} role="status" tabIndex={-1} data-first>
        {isWhole ? '' : problem === '' ? 'Stopped. ' : 'Ended early. '}
        {isPart ? `${formatCount(changed)} of ${usersText(total)}` : usersText(changed)} {participle}
        {unchanged === 0 ? '' : `, ${formatCount(unchanged)} unchanged`}
        {failures.length === 0 ? '' : `, ${formatCount(failures.length)} failed`}
        {isPart ? `, ${formatCount(left)} left` : ''}.
      </p>
      {problem === '' ? null : <p class="notice danger">{problem}</p>}
      {failures.length === 0 ? null : <Failures failures={failures} />}
    </>
  );
}

export interface FailuresDialogProps {
  readonly failures: readonly FailedUser[];
  onClose(): void;
}

export function FailuresDialog({ failures, onClose }: FailuresDialogProps) {
  return (
    <Dialog
      title={`Not undone for ${usersText(failures.length)}`}
      onClose={onClose}
      footer={
        <button type="button" class="button" onClick={onClose}>
          Close
        </button>
      }
    >
      <div class="stack">
        <Failures failures={failures} />
      </div>
    </Dialog>
  );
}

function Failures({ failures }: { failures: readonly FailedUser[] }) {
  return (
    <>
      <ScrollRegion class="failures" label="Failed users">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">User</th>
              <th scope="col">Problem</th>
            </tr>
          </thead>
          <tbody>
            {failures.slice(0, shownMax).map(({ id, name, email, reason }) => (
              <tr key={id}>
                <td dir="auto">
                  {name}{' '}
                  <span class="soft">
                    <BreakableText text={email} />
                  </span>
                </td>
                <td>{reason}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollRegion>
      <p class="line wrap">
        <span class="hint grow">
          {failures.length > shownMax ? `These are the first ${shownMax} of ${formatCount(failures.length)}.` : ''}
        </span>
        <button type="button" class="button small" onClick={() => download(fileOf(failures), 'roster-failed.csv')}>
          Download as CSV
        </button>
      </p>
    </>
  );
}

function fileOf(failures: readonly FailedUser[]): Blob {
  // The file is for a spreadsheet, not for an import. Anybody may have chosen the names.
  const lines = failures.map(({ id, name, email, reason }) =>
    formatLine([id, name, email, reason].map(withoutFormula)),
  );
  return new Blob([formatLine(['id', 'name', 'email', 'problem']), ...lines], { type: 'text/csv' });
}
