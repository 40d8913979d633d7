/** The last steps of an import: the result of its check, its progress, and the rows that are not in the directory. */
import { useId, useState } from 'preact/hooks';
import { formatCount } from '../text/format.js';
import { download } from '../ui/download.js';
import { ChangeExamples } from './change-examples.js';
import { adviceFor, describeStray } from './import-attributes.js';
import type { BatchState } from './import-batch.js';
import type { CheckReport } from './import-check.js';
import { describeFault } from './import-file.js';
import type { OnTaken } from './import-messages.js';
import { type ImportReport, reasonsOf, unsentFileOf } from './import-users.js';
import type { RejectReason } from './reject-reasons.js';
import { ProblemText, RejectedRows, type RejectedRowsProps, RowNumber } from './rejected-rows.js';
import { comparedRowsMax, type RepeatedEmails } from './repeated-emails.js';
import type { ReportStep, RunStart } from './use-import.js';

export interface ImportCheckingProps {
  readonly fileName: string;
  readonly rows: number;
  readonly share: number;
}

export function ImportChecking({ fileName, rows, share }: ImportCheckingProps) {
  const id = useId();
  return (
    <>
      <p id={id} role="status" tabIndex={-1} data-first>
        Checking <strong>{fileName}</strong>. Nothing is written yet.
      </p>
      {/* Nobody knows how long the server takes after it has all rows. */}
      <progress class="progress" aria-labelledby={id} {...(share < 1 && { max: 1, value: share })} />
      <p class="numeric">{rows === 0 ? '' : `${formatCount(rows)} rows read`}</p>
    </>
  );
}

export function ImportCheck({ check }: { check: CheckReport }) {
  const { isCheckedByServer, created, updated, skipped, rejected, rows, reasons, strayTexts, problem } = check;
  const { withoutEmail } = check;
  const { repeatedEmails, onTaken, lineOf } = check;
  const named = reasons.reduce((sum, { rows }) => sum + rows, 0);
  const isWhole = rejected === 0 && problem === undefined;
  const isGood = isWhole && strayTexts.length === 0 && repeatedEmails.emails === 0;
  return (
    <>
      <p class={isGood ? 'notice success' : 'notice warning'} role="status" tabIndex={-1} data-first>
        {isCheckedByServer ? (isWhole ? allText(check) : summarizeCheck(check)) : localText} Nothing is written yet.
      </p>
      {problem === undefined || problem === '' ? null : <p class="notice danger">{problem}</p>}
      {isCheckedByServer ? (
        <Counts
          counts={{
            'To create': created,
            'To update': updated,
            [onTaken === 'update' ? unchangedLabel : 'To skip']: skipped,
            'To reject': rejected,
          }}
        />
      ) : null}
      <ChangeExamples examples={check.examples} lineOf={lineOf} />
      {reasons.length === 0 ? null : <Reasons title="Why rows would be rejected" reasons={reasons} />}
      {rejected > named ? (
        <p class="hint">
          The server named the problems of {formatCount(named)} of these rows.
          {withoutEmail > 0
            ? ` ${rowsText(withoutEmail)} of the file ${withoutEmail === 1 ? 'has' : 'have'} no email address.`
            : ''}
        </p>
      ) : null}
      <RepeatedNotice repeated={repeatedEmails} {...{ onTaken, lineOf }} />
      {strayTexts.length === 0 ? null : <StrayNotice {...{ strayTexts, rows, lineOf }} />}
    </>
  );
}

interface ReasonsProps {
  readonly title: string;
  readonly reasons: readonly RejectReason[];
}

function Reasons({ title, reasons }: ReasonsProps) {
  return (
    <table class="table reasons">
      <thead>
        <tr>
          <th scope="col">{title}</th>
          <th scope="col">Rows</th>
          <th scope="col">First row</th>
        </tr>
      </thead>
      <tbody>
        {reasons.map((reason) => (
          <tr key={`${reason.field} ${reason.message}`}>
            <td>
              <ProblemText problem={reason} />
            </td>
            <td class="numeric">{formatCount(reason.rows)}</td>
            <td class="numeric">
              <RowNumber row={reason.firstRow} line={reason.firstLine} />
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const localText = 'Please read this before the import. The server checks the rows only during the import.';

function allText({ strayTexts, repeatedEmails }: CheckReport): string {
  const but = [
    ...(repeatedEmails.emails === 0 ? [] : ['some rows have the same email']),
    ...(strayTexts.length === 0 ? [] : ['some values have another type than expected']),
  ].join(', and ');
  return but === '' ? 'All rows can be imported.' : `All rows can be imported, but ${but}.`;
}

const repeatedTexts: Readonly<Record<OnTaken, string>> = {
  reject: 'Only the first valid row with an email can create a user. The other rows with it are rejected.',
  skip: 'Only the first valid row with an email can create a user. The other rows with it are skipped, so their values are lost.',
  update:
    'The rows with one email are for one user, and are applied in the order of the file. Later rows overwrite the values of earlier rows.',
};

interface RepeatedNoticeProps extends Pick<CheckReport, 'onTaken' | 'lineOf'> {
  readonly repeated: RepeatedEmails;
}

function RepeatedNotice({ repeated, onTaken, lineOf }: RepeatedNoticeProps) {
  const { emails, first, isCut } = repeated;
  const limit = isCut ? `Only the first ${formatCount(comparedRowsMax)} rows were searched for repeated emails.` : '';
  if (first === undefined) return isCut ? <p class="hint">{limit}</p> : null;
  return (
    <div class="notice warning repeated">
      <p>
        {emails === 1
          ? 'One email is in more than one row: '
          : `${formatCount(emails)} emails are in more than one row, such as `}
        <bdi>{first.email}</bdi> in rows {rowsTextOf(first, lineOf)}.
      </p>
      <p>
        {repeatedTexts[onTaken]} {limit}
      </p>
    </div>
  );
}

function rowsTextOf({ rows, hasMore }: NonNullable<RepeatedEmails['first']>, lineOf: CheckReport['lineOf']): string {
  const texts = rows.map((row) => rowText(row, lineOf));
  return hasMore ? `${texts.join(', ')} and more` : `${texts.slice(0, -1).join(', ')} and ${texts.at(-1)}`;
}

function rowText(row: number, lineOf: CheckReport['lineOf']): string {
  return `${formatCount(row)} (line ${formatCount(lineOf(row))})`;
}

const strayTextsMax = 5;
const strayLengthMax = 40;

/** Values that would become text, although they should have another type. They do not stop the import. */
function StrayNotice({ strayTexts, rows, lineOf }: Pick<CheckReport, 'strayTexts' | 'rows' | 'lineOf'>) {
  const hidden = strayTexts.length - strayTextsMax;
  return (
    <div class="notice warning stray-texts">
      <ul>
        {strayTexts.slice(0, strayTextsMax).map((stray) => (
          <li key={stray.key}>
            <strong>
              <bdi>{stray.key}</bdi>
            </strong>
            : {countText(stray.rows, rows)} {describeStray(stray)}, such as “<bdi>{shortened(stray.firstText)}</bdi>” in
            row {rowText(stray.firstRow, lineOf)}.
          </li>
        ))}
        {hidden > 0 ? (
          <li>{hidden === 1 ? 'One more attribute has such texts.' : `${hidden} more attributes have such texts.`}</li>
        ) : null}
      </ul>
      <p>They are imported as text. {adviceFor(strayTexts)}</p>
    </div>
  );
}

function countText(count: number, rows: number): string {
  if (count === rows && rows <= 2) return rows === 1 ? 'the only row has' : 'both rows have';
  if (count === rows) return `all ${formatCount(rows)} rows have`;
  return `${formatCount(count)} of ${formatCount(rows)} rows ${count === 1 ? 'has' : 'have'}`;
}

export function shortened(text: string): string {
  const characters = [...text];
  return characters.length <= strayLengthMax ? text : `${characters.slice(0, strayLengthMax).join('')}…`;
}

/** Whether an import would write nothing, and only shows the rows for their correction. */
export function isAllRejected({ created, updated, skipped, rejected }: CheckReport): boolean {
  return rejected > 0 && created + updated + skipped === 0;
}

function summarizeCheck(check: CheckReport): string {
  const { created, updated, skipped, rejected } = check;
  if (created + updated + skipped + rejected === 0) return 'The rows could not be checked.';
  if (isAllRejected(check)) {
    return rejected === 1
      ? 'The only row would be rejected. You can correct it in the next step.'
      : `${rejected === 2 ? 'Both' : `All ${formatCount(rejected)}`} rows would be rejected. You can correct them in the next step.`;
  }
  if (rejected === 0) return 'The rows that can be read can be imported.';
  return `${rowsText(rejected)} would be rejected. You can correct ${rejected === 1 ? 'it' : 'them'} after the import.`;
}

export interface ImportRunningProps {
  readonly fileName: string;
  readonly rows: number;
  readonly start: RunStart;
  readonly progress: BatchState;
  readonly onTaken: OnTaken;
}

export function ImportRunning({ fileName, rows, start, progress, onTaken }: ImportRunningProps) {
  const id = useId();
  const done = doneOf(progress);
  const doneNow = done - doneOf(start.progress);
  const seconds = (performance.now() - start.ms) / 1000;
  return (
    <>
      <p id={id}>
        Importing <strong>{fileName}</strong>
      </p>
      <progress class="progress" aria-labelledby={id} max={rows} value={done} />
      <p class="numeric">
        {formatCount(done)} of {formatCount(rows)} rows done
        {seconds > 1 && doneNow > 0 ? `, ${formatCount(Math.round(doneNow / seconds))} per second` : ''}
      </p>
      <Counts counts={countsOf(progress, onTaken)} />
      {progress.isWaiting ? (
        <p class="notice warning" role="status">
          The server does not accept rows at the moment. The import continues when it does. No row is created twice.
        </p>
      ) : null}
    </>
  );
}

export interface ImportResultProps extends RejectedRowsProps {
  readonly onTaken: OnTaken;
  /** Called after the download of the rows that were not sent. */
  onRestSaved(): void;
}

export function ImportResult({ onTaken, onRestSaved, ...props }: ImportResultProps) {
  const { report } = props;
  const { isWhole, rejected, problem, unclear, unclearRetried, unsent } = report;
  return (
    <>
      <p class={isWhole && rejected === 0 ? 'notice success' : 'notice warning'} role="status" tabIndex={-1} data-first>
        {summarize(report)}
      </p>
      {problem === '' ? null : <p class="notice danger">{problem}</p>}
      {unclear === undefined ? null : <UnclearRows {...unclear} canContinue={unsent !== undefined} />}
      {unclearRetried === undefined ? null : <UnclearRows {...unclearRetried} canContinue={false} />}
      <Counts counts={countsOf(report, onTaken)} />
      {unsent === undefined ? null : <UnsentRows report={report} onSaved={onRestSaved} />}
      {/* The table below does not show all rows. */}
      {rejected === report.rejectedRows.length ? null : (
        <Reasons title="Why rows were rejected" reasons={reasonsOf(report)} />
      )}
      {rejected === 0 ? null : <RejectedRows {...props} />}
    </>
  );
}

interface UnclearRowsProps {
  readonly from: number;
  readonly to: number;
  readonly canContinue: boolean;
}

function UnclearRows({ from, to, canContinue }: UnclearRowsProps) {
  return (
    <p class={canContinue ? 'notice warning' : 'notice danger'}>
      The server’s response was lost: rows {formatCount(from)} to {formatCount(to)} may or may not be in the directory.{' '}
      {canContinue
        ? 'Continue sends them again, and creates no user twice.'
        : 'To find out, import again and skip taken emails.'}
    </p>
  );
}

function UnsentRows({ report, onSaved }: { report: ImportReport; onSaved: () => void }) {
  const { file } = report.source;
  const [problem, setProblem] = useState('');
  const save = async () => {
    setProblem('');
    try {
      download(await unsentFileOf(report), `${file.name.replace(/\.csv$/i, '')}-rest.csv`);
      onSaved();
    } catch (error) {
      // The file may have been changed or moved since it was chosen.
      setProblem(describeFault(error));
    }
  };
  return (
    <>
      <p class="line wrap">
        <span class="hint grow">{leftText(report)}.</span>
        <button type="button" class="button small" onClick={() => void save()}>
          Download the rest
        </button>
      </p>
      {problem === '' ? null : (
        <p class="notice danger" role="alert">
          {problem}
        </p>
      )}
    </>
  );
}

function summarize(report: ImportReport): string {
  const { isWhole, rejected, problem, unsent, source } = report;
  if (isWhole && rejected === 0) return 'The import is complete.';
  if (isWhole) {
    const rows = rejected === 1 ? 'one row was' : `${formatCount(rejected)} rows were`;
    return `The import is complete, but ${rows} rejected.`;
  }
  const end = problem === '' ? 'Stopped' : 'Ended early';
  const done = formatCount(doneOf(report));
  const rows =
    unsent === undefined
      ? `${done} rows are done, and the others were not sent.`
      : `${done} of ${formatCount(source.rows)} rows are done.`;
  return `${end}: ${rows} Users that were written stay in the directory.`;
}

function leftText(report: ImportReport): string {
  const left = report.source.rows - doneOf(report);
  return left === 1 ? 'One row is left' : `${formatCount(left)} rows are left`;
}

/** Returns undefined if the user loses nothing by closing the dialog. */
export function closingQuestion({ report, isUnsaved, isRejectedSaved, isRestSaved }: ReportStep): string | undefined {
  const { rejected, unsent } = report;
  const left = unsent === undefined || isRestSaved ? '' : leftText(report);
  if (isUnsaved) return left === '' ? 'Discard your corrections?' : `${left}. Discard them and your corrections?`;
  const lost =
    rejected === 0 || isRejectedSaved ? '' : `${rowsText(rejected)} ${rejected === 1 ? 'was' : 'were'} rejected`;
  if (left !== '' && lost !== '') return `${left}, and ${lost.toLowerCase()}. Close anyway?`;
  return left === lost ? undefined : `${left}${lost}. Close anyway?`;
}

function doneOf({ created, updated, skipped, rejected }: BatchState): number {
  return created + updated + skipped + rejected;
}

/** In an update, the server skips only rows that change nothing. */
const unchangedLabel = 'Unchanged';

function countsOf({ created, updated, skipped, rejected }: BatchState, onTaken: OnTaken) {
  const skippedLabel = onTaken === 'update' ? unchangedLabel : 'Skipped';
  return { Created: created, Updated: updated, [skippedLabel]: skipped, Rejected: rejected };
}

function rowsText(rows: number): string {
  return rows === 1 ? 'One row' : `${formatCount(rows)} rows`;
}

function Counts({ counts }: { counts: Readonly<Record<string, number>> }) {
  return (
    <dl class="counts">
      {Object.entries(counts).map(([label, count]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd class="numeric">{formatCount(count)}</dd>
        </div>
      ))}
    </dl>
  );
}
