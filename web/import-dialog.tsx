/** Imports a CSV file: the user chooses it, checks a preview, and sees the progress and then the rejected rows. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { UnreadableFile, WrongEncoding } from '../src/user-files/file-text.js';
import { Dialog } from './dialog.js';
import type { Directory } from './directory.js';
import { download } from './export-users.js';
import { initialState, type OnTaken } from './import-batch.js';
import { type ChooseProblem, ImportChooser } from './import-chooser.js';
import { describeFault, type FilePreview, readPreview, validatePreview } from './import-file.js';
import { ImportPreview } from './import-preview.js';
import { ImportResult, ImportRunning } from './import-report.js';
import { type ImportProgress, type ImportReport, importUsers } from './import-users.js';
import { useUnsavedGuard } from './unsaved-guard.js';

export interface ImportDialogProps {
  readonly directory: Directory;
  onClose(): void;
  /** Called after an import that created users, with the time at which the last one was created. */
  onImported(newest: Date): void;
}

type Step =
  | { readonly kind: 'choose'; readonly problem?: ChooseProblem }
  | { readonly kind: 'reading'; readonly file: File }
  | { readonly kind: 'preview'; readonly preview: FilePreview }
  | { readonly kind: 'running'; readonly file: File; readonly begunMs: number; readonly progress: ImportProgress }
  | { readonly kind: 'report'; readonly file: File; readonly report: ImportReport };

export function ImportDialog({ directory, onClose, onImported }: ImportDialogProps) {
  const [onTaken, setOnTaken] = useState<OnTaken>('reject');
  const { step, setStep, choose, run, stop, isStopping } = useImport(directory, onTaken, onImported);
  const bodyRef = useRef<HTMLDivElement>(null);

  // Focus the start of the next step, because the button that led there was removed.
  useLayoutEffect(() => {
    bodyRef.current?.querySelector<HTMLElement>('[data-first]')?.focus();
  }, [step.kind]);

  // A blocked step back does nothing, because the Stop button ends the import and then shows the report.
  useUnsavedGuard(step.kind === 'running', () => {});

  const close = step.kind === 'running' ? stop : onClose;
  const problem = step.kind === 'preview' ? validatePreview(step.preview) : undefined;
  return (
    <Dialog
      title="Import users"
      size={step.kind === 'choose' || step.kind === 'reading' ? 'narrow' : 'wide'}
      onClose={close}
      onSubmit={() => {
        if (step.kind === 'preview' && problem === undefined) void run(step.preview);
      }}
      footer={<Buttons step={step} isBlocked={problem !== undefined} isStopping={isStopping} onClose={close} />}
    >
      <div ref={bodyRef} class="stack">
        {step.kind === 'choose' ? (
          <ImportChooser problem={step.problem} onChoose={(file, encoding) => void choose(file, encoding)} />
        ) : step.kind === 'reading' ? (
          <p class="line" role="status" tabIndex={-1} data-first>
            Reading {step.file.name}…
          </p>
        ) : step.kind === 'preview' ? (
          <ImportPreview
            preview={step.preview}
            problem={problem}
            onTaken={onTaken}
            onOther={() => setStep({ kind: 'choose' })}
            onEncoding={(encoding) => void choose(step.preview.file, encoding)}
            onColumns={(columns) => setStep({ kind: 'preview', preview: { ...step.preview, columns } })}
            onTakenChange={setOnTaken}
          />
        ) : step.kind === 'running' ? (
          <ImportRunning fileName={step.file.name} begunMs={step.begunMs} progress={step.progress} />
        ) : (
          <ImportResult report={step.report} />
        )}
      </div>
    </Dialog>
  );
}

/** The step of the import, and the functions that lead to the next one. */
function useImport(directory: Directory, onTaken: OnTaken, onImported: (newest: Date) => void) {
  const [step, setStep] = useState<Step>({ kind: 'choose' });
  const [stopping, setStopping] = useState<AbortController>();
  const readingRef = useRef<AbortController>(undefined);

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
      next = { kind: 'preview', preview: await readPreview(file, encoding, reading.signal) };
    } catch (error) {
      const text = error instanceof UnreadableFile ? describeFault(error) : 'The file cannot be read.';
      const retry = error instanceof WrongEncoding ? { file, encoding } : undefined;
      next = { kind: 'choose', problem: { text, retry } };
    }
    if (!reading.signal.aborted) setStep(next);
  }

  async function run({ file, delimiter, encoding, columns }: FilePreview): Promise<void> {
    const controller = new AbortController();
    const begunMs = performance.now();
    setStopping(controller);
    setStep({ kind: 'running', file, begunMs, progress: { ...initialState, share: 0 } });
    const report = await importUsers(directory, file, {
      delimiter,
      encoding: encoding || undefined,
      columns,
      onTaken,
      signal: controller.signal,
      onProgress: (progress) => setStep({ kind: 'running', file, begunMs, progress }),
    });
    setStep({ kind: 'report', file, report });
    if (report.newest !== undefined) onImported(report.newest);
  }

  const isStopping = stopping?.signal.aborted === true;
  return { step, setStep, choose, run, stop: () => stopping?.abort(), isStopping };
}

interface ButtonsProps {
  readonly step: Step;
  /** Whether the preview has a problem. */
  readonly isBlocked: boolean;
  readonly isStopping: boolean;
  onClose(): void;
}

function Buttons({ step, isBlocked, isStopping, onClose }: ButtonsProps) {
  if (step.kind === 'running') {
    return (
      <button type="button" class="button" aria-disabled={isStopping} onClick={onClose}>
        {isStopping ? 'Stopping…' : 'Stop'}
      </button>
    );
  }
  if (step.kind === 'report') {
    const { file, report } = step;
    const { rejectedFile } = report;
    return (
      <>
        {rejectedFile === undefined ? null : (
          <button
            type="button"
            class="button start"
            onClick={() => download(rejectedFile, `${file.name.replace(/\.csv$/i, '')}-rejected.csv`)}
          >
            Download rejected rows
          </button>
        )}
        <button type="button" class="button primary" onClick={onClose}>
          Close
        </button>
      </>
    );
  }
  return (
    <>
      <button type="button" class="button" onClick={onClose}>
        Cancel
      </button>
      {step.kind === 'preview' ? (
        <button type="submit" class="button primary" aria-disabled={isBlocked}>
          Import
        </button>
      ) : null}
    </>
  );
}
