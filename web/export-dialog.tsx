/** Exports the users in the list as CSV, and shows the progress. */
import { useEffect, useId, useState } from 'preact/hooks';
import { isAborted } from './call-error.js';
import { Dialog } from './dialog.js';
import type { Directory } from './directory.js';
import { download, openSink, readUsers, type Selection, writeUsers } from './export-users.js';
import { formatCount } from './format.js';
import { describeFailure } from './save-user.js';

export interface ExportDialogProps {
  readonly directory: Directory;
  readonly selection: Selection;
  onClose(): void;
}

type Step =
  | { readonly kind: 'ready' }
  | { readonly kind: 'running'; readonly rows: number }
  | { readonly kind: 'done'; readonly rows: number }
  | { readonly kind: 'failed'; readonly rows: number; readonly problem: string };

export function ExportDialog({ directory, selection, onClose }: ExportDialogProps) {
  const [step, setStep] = useState<Step>({ kind: 'ready' });
  const [stopping, setStopping] = useState<AbortController>();
  const id = useId();

  useEffect(() => () => stopping?.abort(), [stopping]);

  async function run(): Promise<void> {
    if (step.kind === 'running') return;
    const name = `roster-${new Date().toISOString().slice(0, 10)}.csv`;
    const controller = new AbortController();
    let rows = 0;
    try {
      const sink = await openSink(name);
      if (sink === undefined) return;
      setStopping(controller);
      setStep({ kind: 'running', rows });
      const file = await writeUsers(sink, readUsers(directory, selection, controller.signal), (count) => {
        rows = count;
        setStep({ kind: 'running', rows });
      });
      if (file !== undefined) download(file, name);
      setStep({ kind: 'done', rows });
    } catch (error) {
      const problem = isAborted(error) ? '' : describeFailure(error);
      setStep({ kind: 'failed', rows, problem });
    }
  }

  const { query, filter } = selection;
  return (
    <Dialog
      title="Export users"
      onClose={() => {
        if (step.kind === 'running') stopping?.abort();
        else onClose();
      }}
      onSubmit={() => {
        if (step.kind === 'done') onClose();
        else void run();
      }}
      footer={
        step.kind === 'running' ? (
          <button type="button" class="button" onClick={() => stopping?.abort()}>
            Stop
          </button>
        ) : step.kind === 'done' ? (
          <button type="submit" class="button primary">
            Close
          </button>
        ) : (
          <>
            <button type="button" class="button" onClick={onClose}>
              Cancel
            </button>
            <button type="submit" class="button primary" data-focus>
              {step.kind === 'failed' ? 'Try again' : 'Export'}
            </button>
          </>
        )
      }
    >
      <div class="stack">
        <p id={id}>
          Export {query === '' && filter === '' ? 'all users' : 'the users in the list'} as CSV, for a later import.
        </p>
        {query === '' && filter === '' ? null : (
          <dl class="details">
            {query === '' ? null : (
              <div>
                <dt>Search</dt>
                <dd dir="auto">{query}</dd>
              </div>
            )}
            {filter === '' ? null : (
              <div>
                <dt>Filter</dt>
                <dd>
                  <code>{filter}</code>
                </dd>
              </div>
            )}
          </dl>
        )}
        {step.kind === 'ready' ? (
          <p class="hint">
            {query === ''
              ? 'The file is one snapshot, ordered by id.'
              : 'Changes that others make during the export may be missing from the file.'}{' '}
            Cells are not escaped. A spreadsheet may run a cell that begins with =, +, - or @ as a formula, so import
            such columns as text.
          </p>
        ) : null}
        {step.kind === 'running' ? <progress class="progress" aria-labelledby={id} /> : null}
        {step.kind === 'ready' ? null : (
          <p class={noticeClass(step.kind)} role="status">
            <span class="numeric">{describeStep(step)}</span>
          </p>
        )}
      </div>
    </Dialog>
  );
}

function noticeClass(kind: Step['kind']): string {
  return kind === 'done' ? 'notice success' : kind === 'failed' ? 'notice danger' : '';
}

function describeStep(step: Exclude<Step, { kind: 'ready' }>): string {
  const users = step.rows === 1 ? 'One user' : `${formatCount(step.rows)} users`;
  if (step.kind === 'running') return `${users} so far`;
  if (step.kind === 'done') return `${users} exported.`;
  return step.problem === '' ? 'Stopped; no file was written.' : `${step.problem} No file was written.`;
}
