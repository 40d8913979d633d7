/**
 * Imports a CSV file: the user chooses it, checks the fields of its columns and the result of a check of all rows, sees
 * the progress, and then corrects the rejected rows.
 */
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Directory } from '../calls/directory.js';
import { formatCount } from '../text/format.js';
import { Dialog } from '../ui/dialog.js';
import { DiscardQuestion, useDiscardQuestion } from '../ui/discard-question.js';
import { download } from '../ui/download.js';
import { StopButton } from '../ui/stop-button.js';
import { useUnsavedGuard } from '../ui/unsaved-guard.js';
import { readTemplate } from './import-attributes.js';
import type { CheckReport } from './import-check.js';
import { ImportChooser } from './import-chooser.js';
import { validatePreview } from './import-file.js';
import type { OnTaken } from './import-messages.js';
import { ImportPreview } from './import-preview.js';
import {
  closingQuestion,
  ImportCheck,
  ImportChecking,
  ImportResult,
  ImportRunning,
  isAllRejected,
} from './import-report.js';
import { rejectedFileOf } from './import-users.js';
import { corrected, type ImportStep, type ReportStep, useImport } from './use-import.js';

export interface ImportDialogProps {
  readonly directory: Directory;
  onClose(): void;
  /** Called after an import that wrote users, with the time at which the last new one was created. */
  onImported(newest: Date): void;
}

export function ImportDialog({ directory, onClose, onImported }: ImportDialogProps) {
  const [onTaken, setOnTaken] = useState<OnTaken>('reject');
  const steps = useImport({ directory, onTaken, onImported });
  const { step } = steps;
  const bodyRef = useRef<HTMLDivElement>(null);
  const mayCheck = directory.may('importUsers');

  const discard = useDiscardQuestion(bodyRef);
  // Focus the start of the next step, because the button that led there was removed.
  useLayoutEffect(() => {
    discard.cancel();
    bodyRef.current?.querySelector<HTMLElement>('[data-first]')?.focus();
  }, [step.kind]);

  const question = step.kind === 'report' ? closingQuestion(step) : undefined;
  const isUnsaved = question !== undefined;
  useUnsavedGuard(isUnsaved || !['choose', 'reading', 'report'].includes(step.kind), {
    onLeave(open = onClose) {
      // During the import, a blocked step does nothing, because the Stop button ends it and then shows the report.
      if (step.kind !== 'running') discard.ask(open);
    },
  });
  const saved = (change: Partial<ReportStep>) => {
    discard.cancel();
    const report = step.kind === 'report' ? step.report : undefined;
    // A download may take long. Meanwhile, the user may have corrected rows, or sent them.
    steps.setStep((now) => (now.kind === 'report' && now.report === report ? { ...now, ...change } : now));
  };

  const problem = step.kind === 'preview' ? validatePreview(step.preview, onTaken, mayCheck) : undefined;
  const close = step.kind === 'running' ? steps.stop : isUnsaved ? () => discard.ask(onClose) : onClose;
  return (
    <Dialog
      title="Import users"
      size={sizeOf(step)}
      onClose={close}
      onEscape={discard.isAsked ? discard.keep : close}
      onSubmit={() => {
        if (step.kind === 'preview' && problem === undefined) void steps.check(step.preview);
        else if (step.kind === 'checked') void steps.run(step.preview);
        else if (step.kind === 'report') {
          discard.cancel();
          void steps.retry(step);
        }
      }}
      footer={
        <Buttons
          steps={steps}
          isBlocked={problem !== undefined}
          mayCheck={mayCheck}
          onClose={close}
          onDownloaded={() => saved({ isUnsaved: false, isRejectedSaved: true })}
        >
          {discard.isAsked ? (
            <DiscardQuestion
              text={question ?? 'Discard this import?'}
              {...(step.kind === 'report' && !step.isUnsaved && { keepText: 'Keep open', discardText: 'Close anyway' })}
              onKeep={discard.keep}
              onDiscard={discard.confirm}
            />
          ) : undefined}
        </Buttons>
      }
    >
      <div ref={bodyRef} class="stack">
        {step.kind === 'preview' ? (
          <ImportPreview
            preview={step.preview}
            problem={problem}
            onTaken={onTaken}
            mayUpdate={mayCheck}
            onOther={() => steps.setStep({ kind: 'choose' })}
            onEncoding={(encoding) => void steps.choose(step.preview.file, encoding, step.preview.hasHeader)}
            onHeader={(hasHeader) => void steps.choose(step.preview.file, step.preview.encoding, hasHeader)}
            onColumns={(columns) => steps.setStep({ kind: 'preview', preview: { ...step.preview, columns } })}
            onTakenChange={setOnTaken}
          />
        ) : (
          <Content {...{ step, steps, directory, onTaken }} onRestSaved={() => saved({ isRestSaved: true })} />
        )}
      </div>
    </Dialog>
  );
}

function sizeOf(step: ImportStep) {
  if (step.kind === 'choose' || step.kind === 'reading') return 'narrow';
  return step.kind === 'report' && step.report.rejected > 0 ? 'full' : 'wide';
}

type Steps = ReturnType<typeof useImport>;

interface ContentProps {
  readonly step: Exclude<ImportStep, { kind: 'preview' }>;
  readonly steps: Pick<Steps, 'choose' | 'setStep'>;
  readonly directory: Directory;
  readonly onTaken: OnTaken;
  onRestSaved(): void;
}

function Content({ step, steps: { choose, setStep }, directory, onTaken, onRestSaved }: ContentProps) {
  switch (step.kind) {
    case 'choose':
      return (
        <ImportChooser
          problem={step.problem}
          onChoose={(file, encoding) => void choose(file, encoding)}
          onTemplate={() => void downloadTemplate(directory)}
        />
      );
    case 'reading':
      return (
        <p class="line" role="status" tabIndex={-1} data-first>
          Reading {step.file.name}…
        </p>
      );
    case 'checking':
      return <ImportChecking fileName={step.preview.file.name} rows={step.rows} share={step.share} />;
    case 'checked':
      return <ImportCheck check={step.check} />;
    case 'running':
      return (
        <ImportRunning
          fileName={step.source.file.name}
          rows={step.source.rows}
          start={step.start}
          progress={step.progress}
          onTaken={onTaken}
        />
      );
    case 'report':
      return (
        <ImportResult
          report={step.report}
          onTaken={onTaken}
          corrections={step.corrections}
          onCorrected={() => {
            if (!step.isUnsaved) setStep({ ...step, isUnsaved: true });
          }}
          onRestSaved={onRestSaved}
        />
      );
  }
}

async function downloadTemplate(directory: Directory): Promise<void> {
  download(new Blob([await readTemplate(directory)], { type: 'text/csv' }), 'users-template.csv');
}

interface ButtonsProps {
  readonly steps: Steps;
  /** Whether the preview has a problem. */
  readonly isBlocked: boolean;
  readonly mayCheck: boolean;
  onClose(): void;
  /** Called after the download of the rejected rows with their corrections. */
  onDownloaded(): void;
  /** The question whether to close the dialog, while it is asked. */
  readonly children: ComponentChildren;
}

function Buttons({ steps, isBlocked, mayCheck, onClose, onDownloaded, children }: ButtonsProps) {
  const { step } = steps;
  if (children !== undefined && step.kind !== 'running' && step.kind !== 'report') return <>{children}</>;
  switch (step.kind) {
    case 'running':
      return <StopButton isStopping={steps.isStopping} onStop={steps.stop} />;
    case 'report':
      return (
        <ReportButtons
          step={step}
          onDownloaded={onDownloaded}
          onContinue={() => void steps.resume(step)}
          onClose={onClose}
        >
          {children}
        </ReportButtons>
      );
    case 'checking':
      return (
        <button type="button" class="button" onClick={() => steps.stopCheck(step.preview)}>
          Stop
        </button>
      );
    case 'checked':
      return (
        <>
          <button type="button" class="button" onClick={() => steps.stopCheck(step.preview)}>
            Back
          </button>
          <button type="submit" class="button primary">
            {importText(step.check)}
          </button>
        </>
      );
    default:
      return (
        <>
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          {step.kind === 'preview' ? (
            <button type="submit" class="button primary" aria-disabled={isBlocked}>
              {mayCheck ? 'Check' : 'Import'}
            </button>
          ) : null}
        </>
      );
  }
}

function importText(check: CheckReport): string {
  const users = check.created + check.updated;
  // Several rows may be for one user.
  const isByRow = check.onTaken === 'update' && (check.repeatedEmails.emails > 0 || check.repeatedEmails.isCut);
  if (check.isCheckedByServer && isAllRejected(check)) return 'Correct the rows';
  if (users === 0) return 'Import';
  if (users === 1) return isByRow ? 'Import 1 row' : 'Import 1 user';
  return `Import ${formatCount(users)} ${isByRow ? 'rows' : 'users'}`;
}

interface ReportButtonsProps extends Pick<ButtonsProps, 'onClose' | 'onDownloaded' | 'children'> {
  readonly step: ReportStep;
  /** Sends the rows that were not sent. */
  onContinue(): void;
}

function ReportButtons({ step, onDownloaded, onContinue, onClose, children }: ReportButtonsProps) {
  const { report, corrections } = step;
  const { file } = report.source;
  const canContinue = report.unsent !== undefined;
  const close = (
    <button type="button" class={canContinue || report.rejected > 0 ? 'button' : 'button primary'} onClick={onClose}>
      Close
    </button>
  );
  // It is not of the type submit, because Enter in a corrected row sends the corrected rows.
  const proceed = canContinue ? (
    <button type="button" class="button primary" onClick={onContinue}>
      Continue
    </button>
  ) : null;
  if (report.rejected === 0) {
    return (
      <>
        {children ?? (
          <>
            {close}
            {proceed}
          </>
        )}
      </>
    );
  }
  return (
    <>
      <button
        type="button"
        class="button start"
        onClick={() => {
          const rejected = rejectedFileOf(corrected(report, corrections));
          if (rejected !== undefined) download(rejected, `${file.name.replace(/\.csv$/i, '')}-rejected.csv`);
          onDownloaded();
        }}
      >
        Download rejected rows
      </button>
      {children ?? (
        <>
          {close}
          <button type="submit" class={canContinue ? 'button' : 'button primary'}>
            Send again
          </button>
          {proceed}
        </>
      )}
    </>
  );
}
