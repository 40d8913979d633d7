/** Sets or removes one attribute of many users. The toast after it can undo that. */
import type { RefObject } from 'preact';
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { AttributeInput } from '../attributes/attribute-input.js';
import { isPlainEnter } from '../attributes/suggested-text.js';
import { useAttributeTypes } from '../attributes/use-attribute-types.js';
import { type BulkTarget, describeTarget, readTarget, targetOfIds, usersText } from '../calls/bulk-target.js';
import type { Directory } from '../calls/directory.js';
import { Dialog } from '../ui/dialog.js';
import { DiscardQuestion, useDiscardQuestion } from '../ui/discard-question.js';
import { showInvalid } from '../ui/show-invalid.js';
import { StopButton } from '../ui/stop-button.js';
import { closeToast, type FailedUser, PartlyUndone, showToast, undoToast } from '../ui/toasts.js';
import { useUnsavedGuard } from '../ui/unsaved-guard.js';
import {
  type AttributeRow,
  type AttributeType,
  attributeTypes,
  isBlankText,
  nameMissing,
  newRow,
  numberHint,
  readAttributes,
  withChosenType,
} from '../users/attributes.js';
import { othersNoun, type UsedAttributes, withKey } from '../users/used-attributes.js';
import { BulkResult, BulkRunning } from './bulk-report.js';
import { type BulkReport, runBulk } from './bulk-run.js';
import { changedText, changeText } from './bulk-texts.js';
import { type AttributeChange, type Changed, writeAttribute } from './bulk-writes.js';
import { type BulkStep, type RunOptions, useBulk } from './use-bulk.js';

export interface BulkDialogProps {
  readonly directory: Directory;
  readonly target: BulkTarget;
  onClose(): void;
  /** Called after users were changed, or after those with the ids `deleted` were deleted. */
  onChanged(deleted?: ReadonlySet<string>): void;
}

export interface BulkAttributeDialogProps extends BulkDialogProps {
  /** Called after the attribute was changed for all users, except for those with the ids. */
  onTried(failedIds: readonly string[], key: string): void;
}

// The page keeps the old values of this many users for an undo.
const undoMax = 100_000;

/** The results of all tries together, because one undo reverts them all. */
interface Tries {
  readonly users: Changed[];
  count: number;
  unchanged: number;
  toast?: number;
}

export function BulkAttributeDialog({ directory, target, onClose, onChanged, onTried }: BulkAttributeDialogProps) {
  const known = useAttributeTypes(directory, target, { includesSample: true });
  const [row, setRow] = useState<AttributeRow>(newRow);
  // The attributes may be known only after the key was typed.
  useEffect(() => setRow((before) => withKey(before, before.key, known)), [known]);
  const [removes, setRemoves] = useState(false);
  // A second try has only the users for whom the first one failed.
  const [current, setCurrent] = useState(target);
  const [problem, setProblem] = useState<ReturnType<typeof readChange>['problem']>();
  const { step, start, stop, isStopping } = useBulk();
  const triesRef = useRef<Tries>({ users: [], count: 0, unchanged: 0 });
  const bodyRef = useRef<HTMLDivElement>(null);
  const discard = useFormGuard(step, row, bodyRef, onClose);
  useFocus(bodyRef, step, problem);

  async function run(users: BulkTarget, change: AttributeChange): Promise<void> {
    const all = triesRef.current;
    setCurrent(users);
    const report = await start((options) => changeAll({ directory, users, change, changed: all.users, ...options }));
    if (report.changed > 0) onChanged();
    if (report.isWhole) onTried(failedIdsOf(report), change.key);
    // A try for all users finds those that an earlier one has changed.
    all.unchanged = users === target ? Math.max(0, report.unchanged - all.count) : all.unchanged + report.unchanged;
    all.count += report.changed;
    const canUndo = all.count > 0 && all.count <= undoMax;
    if (all.toast !== undefined) closeToast(all.toast);
    all.toast = showToast({
      text: resultText(change, { ...report, changed: all.count, unchanged: all.unchanged }),
      undo: canUndo ? () => undo(directory, change.key, all.users, onChanged) : undefined,
    });
    if (report.isWhole && report.failed === 0) onClose();
  }

  const submit = () => {
    if (step.kind === 'running') return;
    discard.cancel();
    const { change, problem: found } = readChange(row, removes, directory.caller.protectedAttributes);
    setProblem(found);
    if (change === undefined) return;
    const failedIds = step.kind === 'report' && step.report.isWhole ? failedIdsOf(step.report) : undefined;
    void run(failedIds === undefined ? target : targetOfIds(failedIds, target), change);
  };
  const { change: next } = readChange(row, removes, directory.caller.protectedAttributes);
  const users = describeTarget(target);
  const action = next === undefined ? `${removes ? 'Remove' : 'Set'} for ${users}` : changeText(next, users);
  // A dialog covers the toast with the same button.
  const { count, unchanged, toast } = triesRef.current;
  const total = target.count;
  const left = leftOf(step, triesRef.current, total);
  const submitText = step.kind === 'form' ? action : againText(step, left);
  const canUndo = step.kind === 'report' && toast !== undefined && count > 0 && count <= undoMax;
  const undoAll = () => {
    onClose();
    if (toast !== undefined) undoToast(toast);
  };
  return (
    <Dialog
      title={`Change an attribute of ${users}`}
      onClose={step.kind === 'running' ? stop : onClose}
      onEscape={discard.isAsked ? discard.keep : step.kind === 'running' ? stop : onClose}
      onSubmit={submit}
      footer={
        step.kind === 'running' ? (
          <StopButton isStopping={isStopping} onStop={stop} />
        ) : (
          <FormButtons {...{ step, submitText, discard, onClose }} onUndo={canUndo ? undoAll : undefined} />
        )
      }
    >
      <div class="stack" ref={bodyRef}>
        {step.kind === 'form' ? (
          <Form
            {...{ row, removes, problem, known }}
            onRow={(changed) => {
              setRow(changed);
              setProblem(undefined);
            }}
            onRemoves={(chosen) => {
              setRemoves(chosen);
              setProblem(undefined);
            }}
          />
        ) : step.kind === 'running' ? (
          <BulkRunning activity={`${removes ? 'Removing' : 'Setting'} “${row.key}”`} count={current.count} {...step} />
        ) : (
          <BulkResult
            report={{ ...step.report, changed: count, unchanged }}
            {...{ total, left }}
            participle="changed"
          />
        )}
      </div>
    </Dialog>
  );
}

/** Moves the focus to the start of each step, and to a field with a problem. */
function useFocus(bodyRef: RefObject<HTMLElement | null>, step: BulkStep, problem: ChangeProblem | undefined): void {
  useLayoutEffect(() => {
    bodyRef.current?.querySelector<HTMLElement>('[data-first]')?.focus();
  }, [step.kind]);
  useLayoutEffect(() => {
    if (problem !== undefined) showInvalid(bodyRef.current);
  }, [problem]);
}

/** Asks before a step back or another address closes the filled form. The buttons and Escape close it at once. */
function useFormGuard(step: BulkStep, row: AttributeRow, bodyRef: RefObject<HTMLElement | null>, onClose: () => void) {
  const discard = useDiscardQuestion(bodyRef);
  const isFilled = step.kind === 'form' && (row.key !== '' || row.text !== '');
  useUnsavedGuard(isFilled, {
    onLeave: (open) =>
      discard.ask(() => {
        onClose();
        open?.();
      }),
  });
  return discard;
}

/** For how many users the change was not tried, as far as it is known. */
function leftOf(step: BulkStep, { count, unchanged }: Tries, total: number | undefined): number {
  if (step.kind !== 'report' || step.report.isWhole || total === undefined) return 0;
  return Math.max(0, total - count - unchanged - step.report.failed);
}

function againText(step: BulkStep, left: number): string {
  const wasStopped = step.kind === 'report' && !step.report.isWhole && step.report.problem === '';
  return `${wasStopped ? 'Continue' : 'Try again'}${left > 0 ? ` with ${usersText(left)}` : ''}`;
}

interface FormButtonsProps {
  readonly step: BulkStep;
  readonly submitText: string;
  readonly discard: ReturnType<typeof useDiscardQuestion>;
  /** Undefined if there is nothing to undo. */
  readonly onUndo: (() => void) | undefined;
  onClose(): void;
}

function FormButtons({ step, submitText, discard, onUndo, onClose }: FormButtonsProps) {
  if (discard.isAsked)
    return <DiscardQuestion text="Discard this change?" onKeep={discard.keep} onDiscard={discard.confirm} />;
  return (
    <>
      <button type="button" class="button" onClick={onClose}>
        {step.kind === 'report' ? 'Close' : 'Cancel'}
      </button>
      {onUndo !== undefined && (
        <button type="button" class="button" onClick={onUndo}>
          Undo
        </button>
      )}
      <button type="submit" class="button primary">
        {submitText}
      </button>
    </>
  );
}

function failedIdsOf({ failures }: BulkReport): string[] {
  return failures.map(({ id }) => id);
}

interface ChangeAllOptions extends RunOptions {
  readonly directory: Directory;
  readonly users: BulkTarget;
  readonly change: AttributeChange;
  /** Receives the users that were changed, for the undo. */
  readonly changed: Changed[];
}

function changeAll(options: ChangeAllOptions): Promise<BulkReport> {
  const { directory, users, change, changed, signal, onProgress, onWaiting } = options;
  const onChanged = (each: Changed) => {
    if (changed.length < undoMax) changed.push(each);
  };
  return runBulk({
    users: readTarget(directory, users, { signal, onWaiting }),
    signal,
    onProgress,
    act: (user) => writeAttribute(directory, user, change, { signal, onWaiting, onChanged }),
  });
}

function resultText(change: AttributeChange, { changed, unchanged, failed, isWhole }: BulkReport): string {
  const { key, value } = change;
  if (changed === 0 && failed === 0 && isWhole)
    return value === undefined ? `Nobody had “${key}”.` : `“${key}” already had this value.`;
  return changedText(change, usersText(changed), unchanged);
}

interface ChangeProblem {
  readonly part: 'key' | 'value';
  readonly message: string;
}

function readChange(
  row: AttributeRow,
  removes: boolean,
  protectedKeys: ReadonlySet<string>,
): { change?: AttributeChange; problem?: ChangeProblem } {
  const key = row.key.trim();
  if (key === '') return { problem: { part: 'key', message: nameMissing } };
  if (protectedKeys.has(key)) return { problem: { part: 'key', message: 'You may not write this attribute.' } };
  if (removes) return { change: { key, value: undefined } };
  if (isBlankText(row)) return { problem: { part: 'value', message: 'Type a value, or choose Remove.' } };
  const result = readAttributes([{ ...row, key }]);
  if (result.problems === undefined) return { change: { key, value: result.attributes[key] } };
  const [problem] = result.problems.values();
  return problem === undefined ? {} : { problem };
}

interface FormProps {
  readonly row: AttributeRow;
  readonly removes: boolean;
  readonly problem: ChangeProblem | undefined;
  /** Undefined until they are known. */
  readonly known: UsedAttributes | undefined;
  onRow(row: AttributeRow): void;
  onRemoves(removes: boolean): void;
}

function Form({ row, removes, problem, known, onRow, onRemoves }: FormProps) {
  const id = useId();
  const valueRef = useRef<HTMLDivElement>(null);
  const keyProblem = problem?.part === 'key' ? problem : undefined;
  const key = row.key.trim();
  const isNew = !removes && key !== '' && known?.has(key) === false;
  return (
    <>
      <div class="field">
        <label for={`${id}-action`}>Action</label>
        <select
          id={`${id}-action`}
          class="input"
          value={removes ? 'remove' : 'set'}
          onChange={(event) => onRemoves(event.currentTarget.value === 'remove')}
        >
          <option value="set">Set the attribute</option>
          <option value="remove">Remove the attribute</option>
        </select>
      </div>
      <div class="field">
        <label for={`${id}-key`}>Attribute</label>
        <input
          id={`${id}-key`}
          class="input"
          list={`${id}-keys`}
          autocomplete="off"
          data-focus
          value={row.key}
          onInput={(event) => onRow(withKey(row, event.currentTarget.value, known))}
          onKeyDown={(event) => {
            const value = valueRef.current?.querySelector<HTMLElement>('input, textarea');
            if (!isPlainEnter(event) || value == null) return;
            event.preventDefault();
            value.focus();
          }}
          aria-describedby={isNew ? `${id}-new` : undefined}
          {...invalidIf(keyProblem, id)}
        />
        <datalist id={`${id}-keys`}>
          {[...(known?.keys() ?? [])].map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
        {isNew && (
          <p class="hint" id={`${id}-new`} dir="auto">
            “{key}” is a new attribute.
          </p>
        )}
        <Problem problem={keyProblem} id={id} />
      </div>
      {removes ? null : <ValueFields {...{ row, id, problem, known, valueRef, onRow }} />}
      <p class="hint">
        {removes ? 'Users without the attribute stay as they are. ' : ''}You can undo this for ten seconds after it is
        done.
      </p>
    </>
  );
}

function invalidIf(problem: ChangeProblem | undefined, id: string) {
  return problem === undefined ? {} : { 'aria-invalid': true, 'aria-describedby': `${id}-problem` };
}

function Problem({ problem, id }: { problem: ChangeProblem | undefined; id: string }) {
  if (problem === undefined) return null;
  return (
    <p class="error" id={`${id}-problem`} role="alert">
      {problem.message}
    </p>
  );
}

interface ValueFieldsProps {
  readonly row: AttributeRow;
  readonly id: string;
  readonly problem: ChangeProblem | undefined;
  readonly known: UsedAttributes | undefined;
  /** Contains the input of the value. */
  readonly valueRef: RefObject<HTMLDivElement | null>;
  onRow(row: AttributeRow): void;
}

function ValueFields({ row, id, problem, known, valueRef, onRow }: ValueFieldsProps) {
  const valueProblem = problem?.part === 'value' ? problem : undefined;
  const noun = othersNoun(row, known);
  const hint = [numberHint(row), noun && `Users have ${noun} here so far.`]
    .filter((text) => text !== undefined)
    .join(' ');
  const types = Object.entries(attributeTypes) as [AttributeType, string][];
  return (
    <>
      <div class="field">
        <label for={`${id}-type`}>Type</label>
        <select
          id={`${id}-type`}
          class="input"
          value={row.type}
          onChange={(event) => {
            const type = types.find(([name]) => name === event.currentTarget.value)?.[0] ?? row.type;
            onRow(withChosenType(row, type));
          }}
        >
          {types.map(([type, label]) => (
            <option key={type} value={type}>
              {label}
            </option>
          ))}
        </select>
      </div>
      {row.type === 'null' ? null : (
        <div class="field">
          <span class="label" aria-hidden="true">
            Value
          </span>
          <div ref={valueRef}>
            <AttributeInput
              row={row}
              label="Value"
              suggestions={known?.get(row.key)?.suggestions ?? []}
              invalid={{ ...(hint !== '' && { 'aria-describedby': `${id}-hint` }), ...invalidIf(valueProblem, id) }}
              onChange={onRow}
            />
          </div>
          {hint !== '' && (
            <p class="hint" id={`${id}-hint`} role="status">
              {hint}
            </p>
          )}
          <Problem problem={valueProblem} id={id} />
        </div>
      )}
    </>
  );
}

/**
 * Restores the values before the change, except where somebody else has changed the attribute since then. If that leaves
 * users as they are, rejects with an error that says how many.
 */
async function undo(
  directory: Directory,
  key: string,
  changed: readonly Changed[],
  onChanged: () => void,
): Promise<void> {
  const { signal } = new AbortController();
  const before = new Map(changed.map((each) => [each.user.id, each.before]));
  const undone = new Set<string>();
  const report = await runBulk({
    users: [changed.map(({ user }) => user)],
    signal,
    onProgress: () => {},
    async act(user) {
      const change = { key, value: before.get(user.id) };
      const outcome = await writeAttribute(directory, user, change, { signal, onChanged: () => {} });
      undone.add(user.id);
      return outcome;
    },
  });
  onChanged();
  const failed = new Map(report.failures.map((failure) => [failure.id, failure]));
  // Those that were not tried are missing in the report.
  const failures = changed
    .filter(({ user }) => !undone.has(user.id))
    .map(({ user: { id, displayName: name, email } }) => failed.get(id) ?? { id, name, email, reason: report.problem });
  if (failures.length > 0) throw new PartlyUndone(undoText(undone.size, failures), failures);
}

function undoText(undoneCount: number, failures: readonly FailedUser[]): string {
  const [reason = '', ...others] = new Set(failures.map((failure) => failure.reason));
  const count = usersText(failures.length);
  const text =
    undoneCount === 0 ? `Not undone for ${count}.` : `Undone for ${usersText(undoneCount)}, not for ${count}.`;
  return others.length > 0 ? `${text} There are several reasons.` : `${text} ${reason}`;
}
