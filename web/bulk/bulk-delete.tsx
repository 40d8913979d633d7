/** Deletes many users, after the user of the page has typed how many. */
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { describeTarget, type KnownUser, readEtags, usersText } from '../calls/bulk-target.js';
import type { Directory } from '../calls/directory.js';
import { describeFailure } from '../calls/save-user.js';
import { formatCount } from '../text/format.js';
import { Dialog } from '../ui/dialog.js';
import { StopButton } from '../ui/stop-button.js';
import { showToast } from '../ui/toasts.js';
import type { BulkDialogProps } from './bulk-attribute.js';
import { BulkResult, BulkRunning } from './bulk-report.js';
import { runBulk } from './bulk-run.js';
import { deletedText, goneText } from './bulk-texts.js';
import { deleteKnown } from './bulk-writes.js';
import { useBulk } from './use-bulk.js';

export interface BulkDeleteDialogProps extends BulkDialogProps {
  /** Called at the end, also after a stop, with the users that were not deleted. */
  onTried(leftIds: readonly string[]): void;
}

export function BulkDeleteDialog({ directory, target, onClose, onChanged, onTried }: BulkDeleteDialogProps) {
  const { users, read, problem } = useEtags(directory, target);
  /** The users that no longer exist, also before a stop. */
  const { current: deleted } = useRef(new Set<string>());
  /** How many of them somebody else had deleted. */
  const goneRef = useRef(0);
  const [typed, setTyped] = useState('');
  const { step, start, stop, isStopping } = useBulk();
  const bodyRef = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    bodyRef.current?.querySelector<HTMLElement>('[data-first]')?.focus();
  }, [step.kind, users]);

  const isConfirmed = users !== undefined && users.length > 0 && digitsOf(typed) === String(users.length);
  const left = users?.filter(({ id }) => !deleted.has(id)) ?? [];
  const canContinue = step.kind === 'report' && !step.report.isWhole && left.length > 0;
  async function run(): Promise<void> {
    if (!isConfirmed || !(step.kind === 'form' || canContinue)) return;
    const report = await start(({ signal, onProgress, onWaiting }) =>
      runBulk({
        users: [left],
        signal,
        onProgress,
        async act(user) {
          const outcome = await deleteKnown(directory, user, { signal, onWaiting });
          deleted.add(user.id);
          if (outcome === 'unchanged') goneRef.current++;
          return outcome;
        },
      }),
    );
    onTried(users.flatMap(({ id }) => (deleted.has(id) ? [] : [id])));
    if (report.changed + report.unchanged > 0) onChanged(deleted);
    if (!report.isWhole || report.failed > 0) return;
    showToast({ text: deletedText(deleted.size - goneRef.current, goneRef.current) });
    onClose();
  }

  return (
    <Dialog
      title={`Delete ${users === undefined ? describeTarget(target) : usersText(users.length)}`}
      onClose={step.kind === 'running' ? stop : onClose}
      onSubmit={() => void run()}
      footer={
        step.kind === 'running' ? (
          <StopButton isStopping={isStopping} onStop={stop} />
        ) : (
          <>
            <button type="button" class="button" onClick={onClose}>
              {step.kind === 'report' ? 'Close' : 'Cancel'}
            </button>
            {step.kind === 'form' ? (
              <button type="submit" class="button danger" aria-disabled={!isConfirmed}>
                Delete {users === undefined ? '' : usersText(users.length)}
              </button>
            ) : canContinue ? (
              <button type="submit" class="button danger">
                {step.report.problem === '' ? 'Continue' : 'Try again'} with {usersText(left.length)}
              </button>
            ) : null}
          </>
        )
      }
    >
      <div class="stack" ref={bodyRef}>
        {problem === '' ? null : (
          <p class="notice danger" role="alert">
            {problem}
          </p>
        )}
        {step.kind === 'running' ? (
          <BulkRunning
            activity="Deleting"
            count={users?.length}
            {...step}
            progress={{ ...step.progress, changed: deleted.size, unchanged: 0 }}
          />
        ) : step.kind === 'report' ? (
          <BulkResult
            report={{ ...step.report, changed: deleted.size - goneRef.current, unchanged: 0 }}
            participle={`deleted${goneText(goneRef.current)}`}
            total={users?.length}
            left={step.report.isWhole ? 0 : left.length - step.report.failed}
          />
        ) : users === undefined ? (
          <p class="line" role="status">
            {problem === '' ? `Reading the users: ${formatCount(read)} so far…` : ''}
          </p>
        ) : (
          <Confirmation users={users} typed={typed} onTyped={setTyped} />
        )}
      </div>
    </Dialog>
  );
}

function useEtags(directory: Directory, target: BulkDialogProps['target']) {
  const [users, setUsers] = useState<readonly KnownUser[]>();
  const [read, setRead] = useState(0);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    const { signal, abort } = abortable();
    readEtags(directory, target, { signal, onCount: setRead }).then(
      (known) => known !== undefined && setUsers(known),
      (error: unknown) => setProblem(describeFailure(error)),
    );
    return abort;
  }, [directory, target]);
  return { users, read, problem };
}

function abortable() {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

// Enough to recognize a wrong selection.
const namesMax = 5;

interface ConfirmationProps {
  readonly users: readonly KnownUser[];
  readonly typed: string;
  onTyped(typed: string): void;
}

function Confirmation({ users, typed, onTyped }: ConfirmationProps) {
  const id = useId();
  if (users.length === 0) {
    return (
      <p tabIndex={-1} data-first>
        These users no longer exist.
      </p>
    );
  }
  const more = users.length - namesMax;
  return (
    <>
      <p>
        This erases {users.length === 1 ? 'this user' : 'these users'}. It cannot be undone. Users that somebody changes
        from now on are not deleted.
      </p>
      <ul class="to-delete">
        {users.slice(0, namesMax).map(({ id: userId, displayName, email }) => (
          <li key={userId} class="truncate" dir="auto">
            {displayName} <span class="soft">{email}</span>
          </li>
        ))}
        {more > 0 ? <li class="soft">and {formatCount(more)} more</li> : null}
      </ul>
      <div class="field">
        <label for={id}>
          Type {formatCount(users.length)} to delete {usersText(users.length)}
        </label>
        <input
          id={id}
          class="input"
          inputMode="numeric"
          autocomplete="off"
          data-first
          value={typed}
          onInput={(event) => onTyped(event.currentTarget.value)}
        />
      </div>
    </>
  );
}

/** Ignores the separators of groups, such as in 1,234. */
function digitsOf(text: string): string {
  return /^[\d\s.,'’]*$/.test(text) ? text.replaceAll(/\D/g, '') : '';
}
