/** The steps of an import, and the functions that lead from one to the next. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { WrongEncoding } from '../../src/user-files/file-text.js';
import type { Directory } from '../calls/directory.js';
import { readKnownAttributes, readRareAttributes } from './import-attributes.js';
import { type BatchState, initialState } from './import-batch.js';
import { type CheckReport, checkImport } from './import-check.js';
import type { ChooseProblem } from './import-chooser.js';
import { describeFault, type FilePreview, readPreview } from './import-file.js';
import type { OnTaken } from './import-messages.js';
import { continueImport, type ImportFile, type ImportReport, importUsers, retryRejected } from './import-users.js';
import type { Corrections } from './rejected-rows.js';

export type ImportStep =
  | { readonly kind: 'choose'; readonly problem?: ChooseProblem }
  | { readonly kind: 'reading'; readonly file: File }
  | { readonly kind: 'preview'; readonly preview: FilePreview }
  | { readonly kind: 'checking'; readonly preview: FilePreview; readonly rows: number; readonly share: number }
  | { readonly kind: 'checked'; readonly preview: FilePreview; readonly check: CheckReport }
  | { readonly kind: 'running'; readonly source: ImportFile; readonly start: RunStart; readonly progress: BatchState }
  | ({ readonly kind: 'report'; readonly report: ImportReport } & CorrectionState);

export type ReportStep = Extract<ImportStep, { kind: 'report' }>;
type ImportRunOptions = Parameters<typeof importUsers>[2];

/** When the run began, and what was done before. */
export interface RunStart {
  readonly ms: number;
  readonly progress: BatchState;
}

interface CorrectionState {
  /** Of rows that are still rejected. */
  readonly corrections: Corrections;
  /** Whether some of them are neither in the directory nor in a downloaded file. */
  readonly isUnsaved: boolean;
  /** Whether the user has downloaded the rejected rows, or the rows that were not sent. */
  readonly isRejectedSaved: boolean;
  readonly isRestSaved: boolean;
}

const noCorrections: CorrectionState = {
  corrections: new Map(),
  isUnsaved: false,
  isRejectedSaved: false,
  isRestSaved: false,
};

export interface ImportOptions {
  readonly directory: Directory;
  readonly onTaken: OnTaken;
  /** Called after an import that wrote users, with the time at which the last new one was created. */
  onImported(newest: Date): void;
}

export function useImport({ directory, onTaken, onImported }: ImportOptions) {
  const [step, setStep] = useState<ImportStep>({ kind: 'choose' });
  const { run, stop, isStopping } = useRuns({ directory, onTaken, onImported }, setStep);
  const readingRef = useRef<AbortController>(undefined);
  useEffect(() => () => readingRef.current?.abort(), []);

  const startReading = () => {
    readingRef.current?.abort();
    readingRef.current = new AbortController();
    return readingRef.current.signal;
  };

  async function choose(file: File | undefined, encoding = '', hasHeader = true): Promise<void> {
    if (file === undefined) return;
    const signal = startReading();
    // A preview, and its focus, stays until the next one is ready.
    if (step.kind !== 'preview') setStep({ kind: 'reading', file });
    let next: ImportStep;
    try {
      const known = readKnownAttributes(directory);
      const readRare = (keys: readonly string[]) => readRareAttributes(directory, keys);
      next = { kind: 'preview', preview: await readPreview(file, { encoding, hasHeader, known, readRare, signal }) };
    } catch (error) {
      const retry = error instanceof WrongEncoding ? { file, encoding } : undefined;
      next = { kind: 'choose', problem: { text: describeFault(error), retry } };
    }
    if (!signal.aborted) setStep(next);
  }

  async function check(preview: FilePreview): Promise<void> {
    const signal = startReading();
    setStep({ kind: 'checking', preview, rows: 0, share: 0 });
    const report = await checkImport(directory, fileOf(preview), {
      onTaken,
      known: preview.known,
      signal,
      onProgress: (progress) => {
        if (!signal.aborted) setStep({ kind: 'checking', preview, ...progress });
      },
    });
    if (signal.aborted) return;
    const hasWarnings = report.strayTexts.length > 0 || report.repeatedEmails.emails > 0;
    if (report.isCheckedByServer || hasWarnings) setStep({ kind: 'checked', preview, check: report });
    else await runPreview(preview);
  }

  const runPreview = (preview: FilePreview) => {
    const source = fileOf(preview);
    return run(source, initialState, (options) => importUsers(directory, source, options));
  };

  return {
    step,
    setStep,
    choose,
    check,
    stopCheck(preview: FilePreview) {
      readingRef.current?.abort();
      setStep({ kind: 'preview', preview });
    },
    run: runPreview,
    retry({ report, ...state }: ReportStep) {
      const before = { ...report, rejected: report.rejectedRest.rows };
      const begin = (options: ImportRunOptions) =>
        retryRejected(directory, corrected(report, state.corrections), options);
      return run(report.source, before, begin, state);
    },
    /** Sends the rows that were not sent. */
    resume({ report, ...state }: ReportStep) {
      const begin = (options: ImportRunOptions) =>
        continueImport(directory, corrected(report, state.corrections), options);
      return run(report.source, report, begin, state);
    },
    stop,
    isStopping,
  };
}

/** The import itself, again for each time that it continues or that rejected rows are sent again. */
function useRuns({ directory, onTaken, onImported }: ImportOptions, setStep: (step: ImportStep) => void) {
  const [stopping, setStopping] = useState<AbortController>();

  // Send no more rows after the dialog is removed.
  useEffect(() => () => stopping?.abort(), [stopping]);

  /** Shows the progress, and then the report. */
  async function run(
    source: ImportFile,
    before: BatchState,
    begin: (options: ImportRunOptions) => Promise<ImportReport>,
    { corrections, isUnsaved, isRestSaved }: CorrectionState = noCorrections,
  ) {
    const controller = new AbortController();
    setStopping(controller);
    const { signal } = controller;
    const start = { ms: performance.now(), progress: before };
    const onProgress = (progress: BatchState) => setStep({ kind: 'running', source, start, progress });
    onProgress(before);
    const report = await begin({ onTaken, signal, onProgress });
    const rejected = new Set(report.rejectedRows.map(({ row }) => row));
    const left = new Map([...corrections].filter(([row]) => rejected.has(row)));
    setStep({
      ...noCorrections,
      kind: 'report',
      report,
      corrections: left,
      isUnsaved: isUnsaved && left.size > 0,
      // The rows that are still not sent are in the same file.
      isRestSaved,
    });
    if (report.created + report.updated > 0) onImported(report.newest ?? (await newestTime(directory)));
  }

  return { run, stop: () => stopping?.abort(), isStopping: stopping?.signal.aborted === true };
}

function fileOf({ file, delimiter, encodingFound, hasHeader, columns, rows }: FilePreview): ImportFile {
  return { file, delimiter, encoding: encodingFound, hasHeader, columns, rows };
}

export function corrected(report: ImportReport, corrections: Corrections): ImportReport {
  const rejectedRows = report.rejectedRows.map((row) => ({ ...row, ...corrections.get(row.row) }));
  return { ...report, rejectedRows };
}

/** An import that also updates users does not return them. */
async function newestTime(directory: Directory): Promise<Date> {
  const { users } = await directory
    .listUsers({ pageSize: 1, orderBy: 'create_time desc' })
    .catch(() => ({ users: [] }));
  return users[0]?.createTime ?? new Date(0);
}
