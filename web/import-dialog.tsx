/**
 * Imports a CSV file: shows a preview before it sends anything, then the progress, and at the end which rows are not in
 * the directory and why.
 */
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { writablePaths } from '../src/fields.js';
import { delimiterNames, openCsv } from '../src/user-files/csv-rules.js';
import { UnreadableFile, WrongEncoding } from '../src/user-files/file-text.js';
import { type Column, matchHeader } from '../src/user-files/header.js';
import { readRecords, readText, refuseColumns } from './csv.js';
import { Dialog } from './dialog.js';
import type { Directory } from './directory.js';
import { encodings, labelOfEncoding } from './encodings.js';
import { download } from './export-users.js';
import { formatBytes, formatCount } from './format.js';
import { type ImportOptions, type ImportProgress, type ImportReport, importUsers } from './import-users.js';
import { useUnsavedGuard } from './unsaved-guard.js';
import { labelOf } from './user-fields.js';

export interface ImportDialogProps {
  readonly directory: Directory;
  onClose(): void;
  /** The import created users, the last of them at this time. */
  onImported(newest: Date): void;
}

// Enough to see what is in a column.
const sampleRowsMax = 3;

interface Preview {
  readonly file: File;
  readonly delimiter: string;
  /** The user's choice; empty to detect it. */
  readonly encoding: string;
  readonly encodingFound: string;
  readonly columns: readonly Column[];
  readonly samples: readonly (readonly string[])[];
  readonly rows: number;
  /** Why the file cannot be read to its end. */
  readonly fault: UnreadableFile | undefined;
}

type Step =
  | { readonly kind: 'choose'; readonly problem?: ChooseProblem }
  | { readonly kind: 'reading'; readonly file: File }
  | { readonly kind: 'preview'; readonly preview: Preview }
  | { readonly kind: 'running'; readonly preview: Preview; readonly begunMs: number; readonly progress: ImportProgress }
  | { readonly kind: 'report'; readonly preview: Preview; readonly report: ImportReport };

interface ChooseProblem {
  readonly text: string;
  /** The file and the encoding that were tried, if another encoding may help. */
  readonly retry?: { readonly file: File; readonly encoding: string } | undefined;
}

/** Reads the whole file, to find its errors before anything is sent. Throws UnreadableFile if it has no header. */
async function preview(file: File, encoding: string, signal: AbortSignal): Promise<Preview> {
  const decoded = readText(file, { encoding: encoding || undefined });
  const csv = await openCsv(decoded.text);
  let header: readonly string[] | undefined;
  const samples: (readonly string[])[] = [];
  let rows = 0;
  let fault: UnreadableFile | undefined;
  try {
    for await (const records of readRecords(csv)) {
      signal.throwIfAborted();
      for (const { cells } of records) {
        if (header === undefined) header = cells;
        else if (++rows <= sampleRowsMax) samples.push(cells);
      }
    }
  } catch (error) {
    if (!(error instanceof UnreadableFile) || header === undefined) throw error;
    fault = error;
  }
  if (header === undefined) throw new UnreadableFile('it is empty; its first line must name the columns');
  const { delimiter } = csv;
  const encodingFound = decoded.encoding();
  return { file, delimiter, encoding, encodingFound, columns: matchHeader(header), samples, rows, fault };
}

/** Says why the file cannot be imported. Returns undefined if it can. */
function validatePreview({ columns, fault, rows }: Preview): string | undefined {
  if (fault instanceof WrongEncoding) return describeFault(fault);
  return refuseColumns(columns) ?? (rows === 0 ? 'The file has no rows after its header.' : undefined);
}

function describeFault(fault: UnreadableFile): string {
  if (!(fault instanceof WrongEncoding)) return fault.message;
  return `${fault.message} Choose the encoding that it was saved in, such as ${labelOfEncoding(fault.suggestion)}.`;
}

export function ImportDialog({ directory, onClose, onImported }: ImportDialogProps) {
  const [step, setStep] = useState<Step>({ kind: 'choose' });
  const [onTaken, setOnTaken] = useState<ImportOptions['onTaken']>('reject');
  const [stopping, setStopping] = useState<AbortController>();
  const readingRef = useRef<AbortController>(undefined);
  const bodyRef = useRef<HTMLDivElement>(null);

  // Focus the start of the next step, because the button that led there was removed.
  useLayoutEffect(() => {
    bodyRef.current?.querySelector<HTMLElement>('[data-first]')?.focus();
  }, [step.kind]);

  // A running import is stopped with its button, which then shows the report.
  useUnsavedGuard(step.kind === 'running', () => {});
  // Send no more rows after the dialog is removed.
  useEffect(() => () => stopping?.abort(), [stopping]);

  useEffect(() => () => readingRef.current?.abort(), []);

  async function choose(file: File | undefined, encoding = ''): Promise<void> {
    if (file === undefined) return;
    readingRef.current?.abort();
    const reading = new AbortController();
    readingRef.current = reading;
    // A preview, and its focus, stays until the next one is ready.
    if (step.kind !== 'preview') setStep({ kind: 'reading', file });
    let next: Step;
    try {
      next = { kind: 'preview', preview: await preview(file, encoding, reading.signal) };
    } catch (error) {
      const text = error instanceof UnreadableFile ? describeFault(error) : 'The file cannot be read.';
      const retry = error instanceof WrongEncoding ? { file, encoding } : undefined;
      next = { kind: 'choose', problem: { text, retry } };
    }
    if (!reading.signal.aborted) setStep(next);
  }

  async function run(of: Preview): Promise<void> {
    const controller = new AbortController();
    const begunMs = performance.now();
    setStopping(controller);
    const nothing = { created: 0, skipped: 0, rejected: 0, share: 0, isWaiting: false };
    setStep({ kind: 'running', preview: of, begunMs, progress: nothing });
    const report = await importUsers(directory, of.file, {
      delimiter: of.delimiter,
      encoding: of.encoding || undefined,
      columns: of.columns,
      onTaken,
      signal: controller.signal,
      onProgress: (progress) => setStep({ kind: 'running', preview: of, begunMs, progress }),
    });
    setStep({ kind: 'report', preview: of, report });
    if (report.newest !== undefined) onImported(report.newest);
  }

  const close = () => {
    if (step.kind === 'running') stopping?.abort();
    else onClose();
  };
  const refusal = step.kind === 'preview' ? validatePreview(step.preview) : undefined;

  return (
    <Dialog
      title="Import users"
      size={step.kind === 'choose' || step.kind === 'reading' ? 'narrow' : 'wide'}
      onClose={close}
      onSubmit={() => {
        if (step.kind === 'preview' && refusal === undefined) void run(step.preview);
      }}
      footer={
        step.kind === 'running' ? (
          <button type="button" class="button" aria-disabled={stopping?.signal.aborted} onClick={close}>
            {stopping?.signal.aborted ? 'Stopping…' : 'Stop'}
          </button>
        ) : step.kind === 'report' ? (
          <>
            {step.report.rejectedFile === undefined ? null : (
              <button
                type="button"
                class="button start"
                onClick={() => {
                  const { rejectedFile } = step.report;
                  if (rejectedFile !== undefined) download(rejectedFile, rejectedNameOf(step.preview.file.name));
                }}
              >
                Download rejected rows
              </button>
            )}
            <button type="button" class="button primary" onClick={onClose}>
              Close
            </button>
          </>
        ) : (
          <>
            <button type="button" class="button" onClick={onClose}>
              Cancel
            </button>
            {step.kind === 'preview' ? (
              <button type="submit" class="button primary" aria-disabled={refusal !== undefined}>
                Import
              </button>
            ) : null}
          </>
        )
      }
    >
      <div ref={bodyRef} class="stack">
        {step.kind === 'choose' ? (
          <Chooser problem={step.problem} onChoose={(file, encoding) => void choose(file, encoding)} />
        ) : step.kind === 'reading' ? (
          <p class="line" role="status" tabIndex={-1} data-first>
            Reading {step.file.name}…
          </p>
        ) : step.kind === 'preview' ? (
          <PreviewStep
            preview={step.preview}
            refusal={refusal}
            onTaken={onTaken}
            onOther={() => setStep({ kind: 'choose' })}
            onEncoding={(encoding) => void choose(step.preview.file, encoding)}
            onColumns={(columns) => setStep({ kind: 'preview', preview: { ...step.preview, columns } })}
            onTakenChange={setOnTaken}
          />
        ) : step.kind === 'running' ? (
          <Running {...step} />
        ) : (
          <Report report={step.report} />
        )}
      </div>
    </Dialog>
  );
}

function rejectedNameOf(name: string): string {
  return `${name.replace(/\.csv$/i, '')}-rejected.csv`;
}

interface ChooserProps {
  readonly problem: ChooseProblem | undefined;
  onChoose(file: File | undefined, encoding?: string): void;
}

function Chooser({ problem, onChoose }: ChooserProps) {
  const id = useId();
  const [isOver, setOver] = useState(false);
  return (
    <>
      <p class="notice danger" role="alert">
        {problem?.text}
      </p>
      {problem?.retry === undefined ? null : (
        <EncodingSelect
          encoding={problem.retry.encoding}
          found={undefined}
          onChange={(encoding) => onChoose(problem.retry?.file, encoding)}
        />
      )}
      {/* biome-ignore lint/a11y/noStaticElementInteractions: dropping a file is a shortcut to the field inside */}
      <div
        class={isOver ? 'drop over' : 'drop'}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          onChoose(event.dataTransfer?.files[0]);
        }}
      >
        <label for={id}>CSV file</label>
        <input
          id={id}
          type="file"
          accept=".csv,.tsv,.txt,text/csv"
          data-focus
          data-first
          aria-describedby={`${id}-hint`}
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            // Otherwise a browser sends no event if the same file is chosen again after a correction.
            event.currentTarget.value = '';
            onChoose(file);
          }}
        />
        <p class="hint" id={`${id}-hint`}>
          Choose a file or drop it here. Its first line names the columns: {writablePaths.join(', ')} (a JSON object)
          and attributes.KEY for one attribute. Common names such as Surname or E-Mail Address are recognized. You can
          check and change the columns before the import.
        </p>
      </div>
    </>
  );
}

interface PreviewStepProps {
  readonly preview: Preview;
  readonly refusal: string | undefined;
  readonly onTaken: ImportOptions['onTaken'];
  onOther(): void;
  onEncoding(encoding: string): void;
  onColumns(columns: readonly Column[]): void;
  onTakenChange(onTaken: ImportOptions['onTaken']): void;
}

function PreviewStep(props: PreviewStepProps) {
  const { preview, refusal, onTaken, onOther, onEncoding, onColumns, onTakenChange } = props;
  const { file, delimiter, encoding, encodingFound, columns, samples, rows, fault } = preview;
  const name = useId();
  return (
    <>
      <p class="line wrap">
        <span class="grow">
          <strong>{file.name}</strong>{' '}
          <span class="soft">
            {formatBytes(file.size)}
            {fault === undefined ? `, ${rows === 1 ? 'one row' : `${formatCount(rows)} rows`}` : ''}, cells separated by{' '}
            {delimiterNames[delimiter] ?? `“${delimiter}”`}
          </span>
        </span>
        <button type="button" class="button small" data-first onClick={onOther}>
          Another file
        </button>
      </p>
      <EncodingSelect encoding={encoding} found={encodingFound} onChange={onEncoding} />
      <p class="notice warning" role="status">
        {refusal}
      </p>
      {fault === undefined || fault instanceof WrongEncoding ? null : (
        <p class="notice danger">{fault.message} Only the rows before that line can be imported.</p>
      )}
      <table class="table columns">
        <caption class="visually-hidden">Columns of the file and their fields</caption>
        <thead>
          <tr>
            <th scope="col">Column</th>
            <th scope="col">Field</th>
            <th scope="col">First rows</th>
          </tr>
        </thead>
        <tbody>
          {columns.map((column, index) => (
            // Two columns may have the same name.
            <tr key={index}>
              <th scope="row">{column.name}</th>
              <td>
                {column.isIgnored ? (
                  <span class="soft">ignored: only the server sets it</span>
                ) : (
                  <ColumnSelect
                    column={column}
                    onChange={(field) =>
                      onColumns(columns.map((other) => (other === column ? { ...column, field } : other)))
                    }
                  />
                )}
              </td>
              <td class="samples">
                {samples.map((cells, row) => (
                  <span key={row} class="truncate" dir="auto">
                    {cells[index] === '' || cells[index] === undefined ? <i>empty</i> : cells[index]}
                  </span>
                ))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <fieldset class="choices">
        <legend>Rows whose email is taken</legend>
        <label>
          <input type="radio" name={name} checked={onTaken === 'reject'} onChange={() => onTakenChange('reject')} />
          Report as rejected
        </label>
        <label>
          <input type="radio" name={name} checked={onTaken === 'skip'} onChange={() => onTakenChange('skip')} />
          Skip silently
        </label>
      </fieldset>
      <p class="hint">
        Valid rows are created even if others are rejected. Created users stay, even if you stop the import.
      </p>
    </>
  );
}

interface EncodingSelectProps {
  /** The user's choice; empty to detect it. */
  readonly encoding: string;
  readonly found: string | undefined;
  onChange(encoding: string): void;
}

function EncodingSelect({ encoding, found, onChange }: EncodingSelectProps) {
  return (
    <label class="encoding">
      Encoding
      <select class="input" value={encoding} onChange={(event) => onChange(event.currentTarget.value)}>
        <option value="">
          Automatic{encoding === '' && found !== undefined ? ` (${labelOfEncoding(found)})` : ''}
        </option>
        {encodings.map(([name, label]) => (
          <option key={name} value={name}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}

function ColumnSelect({ column, onChange }: { column: Column; onChange(field: string): void }) {
  const key = column.name.replace(/^attributes\./, '');
  return (
    <select
      class="input"
      aria-label={`Field of ${column.name}`}
      value={column.field}
      onChange={(event) => onChange(event.currentTarget.value)}
    >
      <option value="">Ignore</option>
      {writablePaths.map((field) => (
        <option key={field} value={field}>
          {field === 'attributes' ? 'Attributes, as JSON' : labelOf(field)}
        </option>
      ))}
      {key === '' ? null : <option value={`attributes.${key}`}>Attribute “{key}”</option>}
    </select>
  );
}

function Running({ preview, begunMs, progress }: Step & { kind: 'running' }) {
  const id = useId();
  const done = progress.created + progress.skipped + progress.rejected;
  const seconds = (performance.now() - begunMs) / 1000;
  return (
    <>
      <p id={id}>
        Importing <strong>{preview.file.name}</strong>
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

function Counts({ created, skipped, rejected }: Pick<ImportProgress, 'created' | 'skipped' | 'rejected'>) {
  return (
    <dl class="counts">
      {[
        ['Created', created],
        ['Skipped', skipped],
        ['Rejected', rejected],
      ].map(([label, count]) => (
        <div key={label}>
          <dt>{label}</dt>
          <dd class="numeric">{formatCount(Number(count))}</dd>
        </div>
      ))}
    </dl>
  );
}

function Report({ report }: { report: ImportReport }) {
  const { created, skipped, rejected, isWhole, problem, unclear, rejectedRows, rejectedFile } = report;
  const done = created + skipped + rejected;
  const summary = isWhole
    ? rejected === 0
      ? 'The import is complete.'
      : `The import is complete, but ${rejected === 1 ? 'one row was' : `${formatCount(rejected)} rows were`} rejected.`
    : `${problem === '' ? 'Stopped' : 'Ended early'}: ${formatCount(done)} rows are done, and the others were not sent. Created users stay in the directory.`;
  return (
    <>
      <p class={isWhole && rejected === 0 ? 'notice success' : 'notice warning'} role="status" tabIndex={-1} data-first>
        {summary}
      </p>
      {problem === '' ? null : <p class="notice danger">{problem}</p>}
      {unclear === undefined ? null : (
        <p class="notice danger">
          The server’s answer was lost: rows {formatCount(unclear.from)} to {formatCount(unclear.to)} may or may not be
          in the directory. To find out, import again and skip taken emails.
        </p>
      )}
      <Counts {...report} />
      {rejectedFile === undefined ? null : (
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
      )}
    </>
  );
}
