/** The last steps of an import: its progress, and at the end the rows that are not in the directory. */
import { useId } from 'preact/hooks';
import { formatCount } from './format.js';
import type { ImportProgress, ImportReport } from './import-users.js';

export interface ImportRunningProps {
  readonly fileName: string;
  readonly begunMs: number;
  readonly progress: ImportProgress;
}

export function ImportRunning({ fileName, begunMs, progress }: ImportRunningProps) {
  const id = useId();
  const done = doneOf(progress);
  const seconds = (performance.now() - begunMs) / 1000;
  return (
    <>
      <p id={id}>
        Importing <strong>{fileName}</strong>
      </p>
      <progress class="progress" aria-labelledby={id} max={1} value={progress.share} />
      <p class="numeric">
        {formatCount(done)} rows done
        {seconds > 1 && done > 0 ? `, ${formatCount(Math.round(done / seconds))} per second` : ''}
      </p>
      <Counts {...progress} />
      {progress.isWaiting ? (
        <p class="notice warning" role="status">
          The server does not accept rows at the moment. The import continues when it does. No row is created twice.
        </p>
      ) : null}
    </>
  );
}

export function ImportResult({ report }: { report: ImportReport }) {
  const { isWhole, rejected, problem, unclear } = report;
  return (
    <>
      <p class={isWhole && rejected === 0 ? 'notice success' : 'notice warning'} role="status" tabIndex={-1} data-first>
        {summarize(report)}
      </p>
      {problem === '' ? null : <p class="notice danger">{problem}</p>}
      {unclear === undefined ? null : (
        <p class="notice danger">
          The server’s response was lost: rows {formatCount(unclear.from)} to {formatCount(unclear.to)} may or may not
          be in the directory. To find out, import again and skip taken emails.
        </p>
      )}
      <Counts {...report} />
      {report.rejectedFile === undefined ? null : <RejectedRows report={report} />}
    </>
  );
}

function summarize(report: ImportReport): string {
  const { isWhole, rejected, problem } = report;
  if (isWhole && rejected === 0) return 'The import is complete.';
  if (isWhole) {
    const rows = rejected === 1 ? 'one row was' : `${formatCount(rejected)} rows were`;
    return `The import is complete, but ${rows} rejected.`;
  }
  const end = problem === '' ? 'Stopped' : 'Ended early';
  return `${end}: ${formatCount(doneOf(report))} rows are done, and the others were not sent. Created users stay in the directory.`;
}

function doneOf({ created, skipped, rejected }: ImportProgress): number {
  return created + skipped + rejected;
}

function Counts({ created, skipped, rejected }: ImportProgress) {
  return (
    <dl class="counts">
      {Object.entries({ Created: created, Skipped: skipped, Rejected: rejected }).map(([label, count]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd class="numeric">{formatCount(count)}</dd>
        </div>
      ))}
    </dl>
  );
}

function RejectedRows({ report: { rejected, rejectedRows } }: { report: ImportReport }) {
  return (
    <>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: keyboard users must be able to scroll it */}
      <section class="rejected" tabIndex={0} aria-label="Rejected rows">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Row</th>
              <th scope="col">Field</th>
              <th scope="col">Problem</th>
            </tr>
          </thead>
          <tbody>
            {rejectedRows.map(({ row, line, field, message }) => (
              <tr key={row}>
                <td class="numeric">
                  {formatCount(row)} <span class="faint">(line {formatCount(line)})</span>
                </td>
                <td>{field}</td>
                <td>{message}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {rejected > rejectedRows.length ? (
        <p class="hint">
          These are the first {rejectedRows.length}. The file of rejected rows has all {formatCount(rejected)}.
        </p>
      ) : null}
      <p class="hint">Download the rejected rows with their problems, correct them and import the file again.</p>
    </>
  );
}
