/**
 * Creates, edits and deletes one user. The server validates the fields, and the form shows its violations beside them.
 *
 * Never overwrites a change by somebody else, never creates two users from one form, and never discards edits without
 * asking.
 */
import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { User } from '../generated/users/v1/user.js';
import { textFields } from '../src/fields.js';
import { type AttributeRow, attributeRowsOf, readAttributes } from './attributes.js';
import { AttributesEditor } from './attributes-editor.js';
import { type Choices, Conflict, firstChoices, Labels, resolve } from './conflict.js';
import { Dialog } from './dialog.js';
import { CallError, type Directory } from './directory.js';
import { createCreator, deleteUser, describeFailure, hasReason, isUnclear, readUser, updateUser } from './save-user.js';
import { useUnsavedGuard } from './unsaved-guard.js';
import { differences, fieldsOf, noFields, textsOf, type UserFields, type UserTexts } from './user-fields.js';

export interface UserDialogProps {
  readonly directory: Directory;
  /** The user to edit; undefined to create one. Later values are ignored. */
  readonly user?: User | undefined;
  /** The newest version of the user that the page has received, or 'gone' after it was deleted. */
  readonly latest?: User | 'gone' | undefined;
  onClose(): void;
  onSaved(user: User): void;
  onDeleted(user: User): void;
}

type View =
  | { readonly kind: 'form' }
  | {
      readonly kind: 'conflict';
      readonly mine: UserFields;
      readonly theirs: User;
      readonly choices: Choices;
      readonly openPath?: string | undefined;
    }
  /**
   * `user` is the version to delete; `changed` are the fields that somebody else has changed since the user decided.
   */
  | { readonly kind: 'delete'; readonly user: User; readonly changed: readonly string[] }
  | { readonly kind: 'gone' };

export function UserDialog({ directory, user, latest, onClose, onSaved, onDeleted }: UserDialogProps) {
  // The version that the form started from, and that an update names with its etag.
  const [base, setBase] = useState(user);
  const [texts, setTexts] = useState<UserTexts>(user ?? noFields);
  const [rows, setRows] = useState<readonly AttributeRow[]>(() => attributeRowsOf(user?.attributes ?? {}));
  /** The rows that were invalid at the last attempt to save. They show their problem until they are valid. */
  const [wrongRows, setWrongRows] = useState<ReadonlySet<number>>(new Set());
  /** The server's violations by the field's path, until the field is edited; '' is for all others. */
  const [violations, setViolations] = useState<Readonly<Record<string, string>>>({});
  /** Counts the failed attempts to save. */
  const [refusals, setRefusals] = useState(0);
  const [failure, setFailure] = useState('');
  const [view, setView] = useState<View>({ kind: 'form' });
  const [isBusy, setBusy] = useState(false);
  const [isAsking, setAsking] = useState(false);
  const [isRenewed, setRenewed] = useState(false);
  const create = useMemo(() => createCreator(directory), [directory]);
  const bodyRef = useRef<HTMLDivElement>(null);
  // The element to focus again if the user keeps editing.
  const askedFromRef = useRef<Element | null>(null);

  const baseFields = base === undefined ? noFields : fieldsOf(base);
  const typed = readAttributes(rows);
  const mine: UserFields | undefined =
    typed.problems === undefined ? { ...textsOf(texts), attributes: typed.attributes } : undefined;
  const rowProblems = new Map([...(typed.problems ?? [])].filter(([id]) => wrongRows.has(id)));
  const isDirty = mine === undefined || differences(baseFields, mine).length > 0;
  // While this dialog deletes the user, the feed may be faster than the answer.
  const isGone = view.kind === 'gone' || (latest === 'gone' && !isBusy);
  const shown: View = isGone && view.kind === 'delete' ? { kind: 'gone' } : view;
  // The version from the feed may be older than the one that the dialog has read.
  const newer =
    base !== undefined &&
    latest !== undefined &&
    latest !== 'gone' &&
    latest.etag !== base.etag &&
    Number(latest.updateTime) >= Number(base.updateTime)
      ? latest
      : undefined;

  function show(from: User, fields: UserFields): void {
    setBase(from);
    setTexts(textsOf(fields));
    setRows(attributeRowsOf(fields.attributes));
    setViolations({});
    setFailure('');
  }

  // Without edits, show the newer version without asking.
  useEffect(() => {
    if (newer === undefined || isDirty || isBusy || view.kind !== 'form') return;
    show(newer, fieldsOf(newer));
    setRenewed(true);
  }, [newer, isDirty, isBusy, view.kind]);

  useUnsavedGuard(isDirty && !isGone, () => setAsking(true));

  // Focus the first invalid field. Not when an error disappears, because the user is typing then.
  useLayoutEffect(() => {
    bodyRef.current?.querySelector<HTMLElement>('[aria-invalid="true"], [data-invalid] button')?.focus();
  }, [refusals, view.kind === 'conflict' ? view.openPath : undefined]);

  // A new step starts with the focus on its first control.
  useLayoutEffect(() => {
    bodyRef.current?.querySelector<HTMLElement>('[data-first]')?.focus();
  }, [view.kind]);

  async function whileBusy(work: () => Promise<void>): Promise<void> {
    if (isBusy) return;
    setBusy(true);
    setFailure('');
    setAsking(false);
    try {
      await work();
    } catch (error) {
      if (hasReason(error, 'USER_NOT_FOUND') && base !== undefined) setView({ kind: 'gone' });
      else setFailure(`${describeFailure(error)} ${view.kind === 'delete' ? sayNotDeleted(error) : stillHere}`);
    } finally {
      setBusy(false);
    }
  }

  function showViolations(error: unknown): boolean {
    if (!(error instanceof CallError) || error.violations.length === 0) return false;
    const named: Record<string, string> = {};
    const others: string[] = [];
    for (const { field, description } of error.violations) {
      const path = field.replace(/^user\./, '');
      if (path === 'attributes' || textFields.some((known) => known.path === path)) named[path] ??= description;
      else others.push(`${field} ${description}`);
    }
    if (others.length > 0) named[''] = `${others.join('; ')}.`;
    setViolations(named);
    setRefusals((before) => before + 1);
    return true;
  }

  /** A violation applies only to the value that was sent. */
  function clearViolation(path: string): void {
    setViolations(({ [path]: _, '': _others, ...rest }) => rest);
  }

  function showRowProblems(): void {
    setWrongRows(new Set(typed.problems?.keys()));
    setRefusals((before) => before + 1);
  }

  /** Continues with the version that is in the directory now. */
  async function resolveConflict(read: User, fields: UserFields): Promise<void> {
    const theirs = await readUser(directory, read.id);
    if (theirs === undefined) return setView({ kind: 'gone' });
    // This may be the dialog's own update whose answer was lost.
    if (differences(fields, fieldsOf(theirs)).length === 0) return onSaved(theirs);
    openConflict(read, fields, theirs);
  }

  function openConflict(read: User, fields: UserFields, theirs: User): void {
    setAsking(false);
    setView({
      kind: 'conflict',
      mine: fields,
      theirs,
      choices: firstChoices(fieldsOf(read), fields, fieldsOf(theirs)),
    });
  }

  function save(): void {
    if (mine === undefined) {
      showRowProblems();
      return;
    }
    setViolations({});
    if (base !== undefined && !isDirty) {
      onClose();
      return;
    }
    void whileBusy(async () => {
      try {
        onSaved(base === undefined ? await create(mine) : await updateUser(directory, base, mine));
      } catch (error) {
        if (base !== undefined && hasReason(error, 'ETAG_MISMATCH')) await resolveConflict(base, mine);
        else if (!showViolations(error)) throw error;
      }
    });
  }

  function saveResolved({ mine, theirs, choices }: View & { kind: 'conflict' }): void {
    const resolved = resolve(choices, mine, fieldsOf(theirs));
    if ('open' in resolved) {
      setView({ kind: 'conflict', mine, theirs, choices, openPath: resolved.open });
      return;
    }
    void whileBusy(async () => {
      try {
        onSaved(await updateUser(directory, theirs, resolved.fields));
      } catch (error) {
        if (hasReason(error, 'ETAG_MISMATCH')) return await resolveConflict(theirs, resolved.fields);
        // All other errors concern fields, so show the form.
        show(theirs, resolved.fields);
        setView({ kind: 'form' });
        if (!showViolations(error)) throw error;
      }
    });
  }

  function erase({ user }: View & { kind: 'delete' }): void {
    void whileBusy(async () => {
      try {
        await deleteUser(directory, user);
        onDeleted(user);
      } catch (error) {
        if (!hasReason(error, 'ETAG_MISMATCH')) throw error;
        const theirs = await readUser(directory, user.id);
        if (theirs === undefined) return onDeleted(user);
        // The form keeps its edits in case the user decides not to delete.
        setView({ kind: 'delete', user: theirs, changed: differences(fieldsOf(user), fieldsOf(theirs)) });
      }
    });
  }

  function backToForm(): void {
    setFailure('');
    setView({ kind: 'form' });
  }

  function close(): void {
    if (isBusy) return;
    if (isAsking) keep();
    else if (shown.kind === 'delete') backToForm();
    else if (isDirty && !isGone) {
      askedFromRef.current = document.activeElement;
      setAsking(true);
    } else onClose();
  }

  function keep(): void {
    setAsking(false);
    if (askedFromRef.current instanceof HTMLElement) askedFromRef.current.focus();
  }

  const textField = ({ path, name, label, input }: (typeof textFields)[number]) => (
    <TextField
      key={path}
      path={path}
      label={label}
      input={input}
      value={texts[name]}
      problem={violations[path]}
      isFirst={path === 'first_name' && base === undefined}
      onInput={(value) => {
        setTexts((before) => ({ ...before, [name]: value }));
        clearViolation(path);
      }}
    />
  );
  const { displayName: name = '' } = (shown.kind === 'delete' ? shown.user : base) ?? {};
  const title = {
    form: base === undefined ? 'New user' : name,
    conflict: 'Conflicting changes',
    delete: (
      <>
        Delete <bdi>{name}</bdi>?
      </>
    ),
    gone: name,
  }[shown.kind];

  return (
    <Dialog
      title={title}
      size={view.kind === 'conflict' ? 'wide' : 'narrow'}
      onClose={close}
      onSubmit={() => {
        if (isBusy || isGone) return;
        if (view.kind === 'form') save();
        else if (view.kind === 'conflict') saveResolved(view);
        else if (view.kind === 'delete') erase(view);
      }}
      footer={
        isAsking ? (
          <Discarding onKeep={keep} onDiscard={onClose} />
        ) : (
          <Buttons
            view={isGone ? 'gone' : view.kind}
            isNew={base === undefined}
            name={name}
            isBusy={isBusy}
            onClose={close}
            onBack={backToForm}
            onDelete={() => {
              if (base !== undefined) setView({ kind: 'delete', user: base, changed: [] });
              setFailure('');
            }}
          />
        )
      }
    >
      <div ref={bodyRef} class="stack" aria-busy={isBusy}>
        <p class="notice danger" role="alert">
          {failure || violations['']}
        </p>
        {isGone ? (
          <p class="notice" role="status">
            <bdi>{name}</bdi> is no longer in the directory, because somebody deleted this user.
            {isDirty ? ' Your changes could not be saved.' : ''}
          </p>
        ) : null}
        {shown.kind === 'form' || shown.kind === 'gone' ? (
          <>
            {isGone ? null : (
              <Elsewhere
                changed={newer === undefined || !isDirty ? undefined : differences(baseFields, fieldsOf(newer))}
                isRenewed={isRenewed && !isDirty}
                onReview={() => {
                  if (mine === undefined) showRowProblems();
                  else if (base !== undefined && newer !== undefined) openConflict(base, mine, newer);
                }}
              />
            )}
            <div class="names">{textFields.filter(({ input }) => input === 'name').map(textField)}</div>
            {textFields.filter(({ input }) => input !== 'name').map(textField)}
            <AttributesEditor
              rows={rows}
              problems={rowProblems}
              problem={violations.attributes}
              onChange={(changed) => {
                setRows(changed);
                clearViolation('attributes');
              }}
            />
            {base === undefined ? null : <Details user={base} />}
          </>
        ) : shown.kind === 'conflict' ? (
          <Conflict
            mine={shown.mine}
            theirs={fieldsOf(shown.theirs)}
            choices={shown.choices}
            openPath={shown.openPath}
            onChoose={(choices) => setView({ ...shown, choices, openPath: undefined })}
          />
        ) : (
          <div>
            {shown.changed.length === 0 ? null : (
              <p class="notice" role="status">
                Not deleted yet, because somebody has changed this user (<Labels paths={shown.changed} />
                ).
              </p>
            )}
            <p>
              This erases{' '}
              <strong>
                <bdi>{name}</bdi>
              </strong>{' '}
              (<bdi>{shown.user.email}</bdi>) and all data about this person. You cannot undo this.
            </p>
          </div>
        )}
      </div>
    </Dialog>
  );
}

const stillHere = 'Your input is still here.';

function sayNotDeleted(error: unknown): string {
  return isUnclear(error) ? 'The user may or may not have been deleted. Try again.' : 'The user was not deleted.';
}

interface TextFieldProps {
  readonly path: string;
  readonly label: string;
  readonly input: (typeof textFields)[number]['input'];
  readonly value: string;
  readonly problem: string | undefined;
  readonly isFirst: boolean;
  onInput(value: string): void;
}

function TextField({ path, label, input, value, problem, isFirst, onInput }: TextFieldProps) {
  const id = useId();
  const link = input === 'url' ? linkOf(value) : undefined;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <div class="line">
        <input
          class="input"
          id={id}
          // Never type=email or type=url: browsers trim and rewrite what is typed there.
          inputMode={input === 'name' ? 'text' : input}
          autocomplete="off"
          autocapitalize={input === 'name' ? 'words' : 'none'}
          dir={input === 'name' ? 'auto' : undefined}
          spellcheck={false}
          value={value}
          data-field={path}
          data-focus={isFirst ? true : undefined}
          aria-invalid={problem !== undefined}
          aria-describedby={problem === undefined ? undefined : `${id}-problem`}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
        {link === undefined ? null : (
          <a class="button" href={link} target="_blank" rel="noopener noreferrer">
            Open<span class="visually-hidden"> the image in a new tab</span>
          </a>
        )}
      </div>
      {problem === undefined ? null : (
        <p class="error" id={`${id}-problem`}>
          {label} {problem}
        </p>
      )}
    </div>
  );
}

/** Returns the text if it links to a web page. Other texts could be a script. */
function linkOf(text: string): string | undefined {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) ? text : undefined;
}

interface ElsewhereProps {
  /** The fields that somebody else has changed, if the form has edits. */
  readonly changed: readonly string[] | undefined;
  /** Whether the form shows a newer version than the one that was opened. */
  readonly isRenewed: boolean;
  onReview(): void;
}

function Elsewhere({ changed, isRenewed, onReview }: ElsewhereProps) {
  return (
    <div role="status">
      {changed !== undefined ? (
        <p class="notice">
          Somebody else has just changed {changed.length === 0 ? 'this user' : <Labels paths={changed} />}.{' '}
          <button type="button" class="button small" onClick={onReview}>
            Compare
          </button>
        </p>
      ) : isRenewed ? (
        <p class="notice">Somebody else has just changed this user. This is the newest version.</p>
      ) : null}
    </div>
  );
}

function Details({ user }: { user: User }) {
  const [copied, setCopied] = useState('');
  const canCopy = navigator.clipboard !== undefined;
  return (
    <dl class="details">
      <div>
        <dt>ID</dt>
        <dd>
          <code>{user.id}</code>
          {canCopy ? (
            <button
              type="button"
              class="button small"
              onClick={() => {
                navigator.clipboard.writeText(user.id).then(
                  () => setCopied('Copied'),
                  () => setCopied('Not copied'),
                );
              }}
            >
              Copy<span class="visually-hidden"> the ID</span>
            </button>
          ) : null}
          <span role="status">{copied}</span>
        </dd>
      </div>
      <Moment label="Created" at={user.createTime} />
      <Moment label="Updated" at={user.updateTime} />
      <div>
        <dt>Version</dt>
        <dd>
          <code>{user.etag}</code>
        </dd>
      </div>
    </dl>
  );
}

const momentFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

function Moment({ label, at }: { label: string; at: Date | undefined }) {
  return (
    <div>
      <dt>{label}</dt>
      <dd>{at === undefined ? '' : <time dateTime={at.toISOString()}>{momentFormat.format(at)}</time>}</dd>
    </div>
  );
}

function Discarding({ onKeep, onDiscard }: { onKeep(): void; onDiscard(): void }) {
  const ref = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => ref.current?.focus(), []);
  return (
    <>
      <p class="grow" role="alert">
        Discard your changes?
      </p>
      <button ref={ref} type="button" class="button" onClick={onKeep}>
        Keep editing
      </button>
      <button type="button" class="button danger" onClick={onDiscard}>
        Discard
      </button>
    </>
  );
}

interface ButtonsProps {
  readonly view: View['kind'];
  readonly isNew: boolean;
  readonly name: string;
  readonly isBusy: boolean;
  onClose(): void;
  onBack(): void;
  onDelete(): void;
}

/** Busy buttons are only marked as disabled, because a disabled button loses the focus. */
function Buttons({ view, isNew, name, isBusy, onClose, onBack, onDelete }: ButtonsProps) {
  const backRef = useRef<HTMLButtonElement>(null);
  // Focus the safe button.
  useLayoutEffect(() => {
    if (view === 'delete') backRef.current?.focus();
  }, [view]);
  if (view === 'gone') {
    return (
      <button type="button" class="button primary" onClick={onClose}>
        Close
      </button>
    );
  }
  if (view === 'form') {
    return (
      <>
        {isNew ? null : (
          <button type="button" class="button quiet danger-text start" onClick={onDelete}>
            Delete…
          </button>
        )}
        <button type="button" class="button" onClick={onClose}>
          Cancel
        </button>
        <button type="submit" class="button primary" aria-disabled={isBusy}>
          {isNew ? (isBusy ? 'Creating…' : 'Create') : isBusy ? 'Saving…' : 'Save'}
        </button>
      </>
    );
  }
  return (
    <>
      <button ref={backRef} type="button" class="button" onClick={onBack}>
        {view === 'delete' ? 'Keep' : 'Back'}
      </button>
      {view === 'delete' ? (
        <button type="submit" class="button danger" aria-disabled={isBusy}>
          <span class="truncate">{isBusy ? 'Deleting…' : ['Delete ', <bdi key="name">{name}</bdi>]}</span>
        </button>
      ) : (
        <button type="submit" class="button primary" aria-disabled={isBusy}>
          {isBusy ? 'Saving…' : 'Save'}
        </button>
      )}
    </>
  );
}
