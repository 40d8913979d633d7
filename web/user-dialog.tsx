/**
 * Creates, edits and deletes one user. What a field may hold is the server's to say: its violations are shown beside
 * their fields.
 *
 * Never overwrites what somebody else has saved meanwhile, never makes a second user of one form, and never throws away
 * what was typed unless it was asked.
 */
import { useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { User } from '../generated/users/v1/user.js';
import { type AttributeRow, readRows, rowsOf } from './attributes.js';
import { AttributesEditor } from './attributes-editor.js';
import { type Choices, Conflict, firstChoices, Labels, resolve } from './conflict.js';
import { Dialog } from './dialog.js';
import { CallError, type Directory } from './directory.js';
import { createCreator, deleteUser, describeFailure, hasReason, isUnclear, readUser, updateUser } from './save-user.js';
import { useStay } from './stay.js';
import { differences, fieldsOf, noFields, textFields, type UserFields } from './user-fields.js';

export interface UserDialogProps {
  readonly directory: Directory;
  /** Whom to edit; nobody to create. Only the first one counts. */
  readonly user?: User | undefined;
  /** The same user as the directory has it now, or that it has it no more, as far as the page hears of changes. */
  readonly latest?: User | 'gone' | undefined;
  onClose(): void;
  onSaved(user: User): void;
  onDeleted(user: User): void;
}

type Texts = Omit<UserFields, 'attributes'>;

type View =
  | { readonly kind: 'form' }
  | {
      readonly kind: 'conflict';
      readonly mine: UserFields;
      readonly theirs: User;
      readonly choices: Choices;
      readonly openPath?: string | undefined;
    }
  /** `user` is the version to delete; `changed` is what somebody else has changed since the person decided. */
  | { readonly kind: 'delete'; readonly user: User; readonly changed: readonly string[] }
  | { readonly kind: 'gone' };

export function UserDialog({ directory, user, latest, onClose, onSaved, onDeleted }: UserDialogProps) {
  // What the form began with, and what an update is told that it is of.
  const [base, setBase] = useState(user);
  const [texts, setTexts] = useState<Texts>(user ?? noFields);
  const [rows, setRows] = useState<readonly AttributeRow[]>(() => rowsOf(user?.attributes ?? {}));
  /** The rows that were wrong when somebody wanted to save: they say so until they are right. */
  const [wrongRows, setWrongRows] = useState<ReadonlySet<number>>(new Set());
  /** What the server says of a field, by its path, until the field is edited; '' is what it says of something else. */
  const [violations, setViolations] = useState<Readonly<Record<string, string>>>({});
  /** Counts the times that something was wrong. */
  const [refusals, setRefusals] = useState(0);
  const [failure, setFailure] = useState('');
  const [view, setView] = useState<View>({ kind: 'form' });
  const [isBusy, setBusy] = useState(false);
  const [isAsking, setAsking] = useState(false);
  const [isRenewed, setRenewed] = useState(false);
  const create = useMemo(() => createCreator(directory), [directory]);
  const bodyRef = useRef<HTMLDivElement>(null);
  // Where to go back to from the question whether to discard.
  const askedFromRef = useRef<Element | null>(null);

  const baseFields = base === undefined ? noFields : fieldsOf(base);
  const typed = readRows(rows);
  const mine: UserFields | undefined =
    typed.problems === undefined ? { ...textsOf(texts), attributes: typed.attributes } : undefined;
  const rowProblems = new Map([...(typed.problems ?? [])].filter(([id]) => wrongRows.has(id)));
  const isDirty = mine === undefined || differences(baseFields, mine).length > 0;
  // While this deletes the user itself, the feed may be faster than the answer.
  const isGone = view.kind === 'gone' || (latest === 'gone' && !isBusy);
  const shown: View = isGone && view.kind === 'delete' ? { kind: 'gone' } : view;
  // What the page heard of may be older than what this has read for itself.
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
    setRows(rowsOf(fields.attributes));
    setViolations({});
    setFailure('');
  }

  // Nobody has typed anything yet: there is nothing to decide.
  useEffect(() => {
    if (newer === undefined || isDirty || isBusy || view.kind !== 'form') return;
    show(newer, fieldsOf(newer));
    setRenewed(true);
  }, [newer, isDirty, isBusy, view.kind]);

  // Leaving the page or going back in it would lose what was typed.
  useStay(isDirty && !isGone, () => setAsking(true));

  // What is wrong is where to go on. Not each time that an error goes: somebody is typing then.
  useLayoutEffect(() => {
    bodyRef.current?.querySelector<HTMLElement>('[aria-invalid="true"], [data-invalid] button')?.focus();
  }, [refusals, view.kind === 'conflict' ? view.openPath : undefined]);

  // A step of its own begins at its own beginning.
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

  /** What the server said of a field is about what stood there before. */
  function correct(path: string): void {
    setViolations(({ [path]: _, '': _others, ...rest }) => rest);
  }

  function showRowProblems(): void {
    setWrongRows(new Set(typed.problems?.keys()));
    setRefusals((before) => before + 1);
  }

  /** Goes on with the version that is in the directory now, where that is another one than was read. */
  async function meet(read: User, fields: UserFields): Promise<void> {
    const theirs = await readUser(directory, read.id);
    if (theirs === undefined) return setView({ kind: 'gone' });
    // Also an update of our own whose answer was lost.
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
        if (base !== undefined && hasReason(error, 'ETAG_MISMATCH')) await meet(base, mine);
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
        if (hasReason(error, 'ETAG_MISMATCH')) return await meet(theirs, resolved.fields);
        // The rest is about what stands in fields, so it goes on there.
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
        // The form keeps what was typed, for somebody who then decides to keep the user.
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

  const textField = ({ path, name, label }: (typeof textFields)[number]) => (
    <TextField
      key={path}
      path={path}
      label={label}
      value={texts[name]}
      problem={violations[path]}
      isFirst={path === 'first_name' && base === undefined}
      onInput={(value) => {
        setTexts((before) => ({ ...before, [name]: value }));
        correct(path);
      }}
    />
  );
  const { displayName: name = '' } = (shown.kind === 'delete' ? shown.user : base) ?? {};
  const title = {
    form: base === undefined ? 'New user' : name,
    conflict: 'Changed meanwhile',
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
            <bdi>{name}</bdi> is no longer in the directory: somebody has deleted this user meanwhile.
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
            <div class="names">{textFields.slice(0, 2).map(textField)}</div>
            {textFields.slice(2).map(textField)}
            <AttributesEditor
              rows={rows}
              problems={rowProblems}
              problem={violations.attributes}
              onChange={(changed) => {
                setRows(changed);
                correct('attributes');
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
                Not deleted yet: somebody has changed this user meanwhile (<Labels paths={shown.changed} />
                ).
              </p>
            )}
            <p>
              This erases{' '}
              <strong>
                <bdi>{name}</bdi>
              </strong>{' '}
              (<bdi>{shown.user.email}</bdi>) and all that the directory holds of this person. It cannot be undone.
            </p>
          </div>
        )}
      </div>
    </Dialog>
  );
}

const stillHere = 'What you typed is still here.';

function sayNotDeleted(error: unknown): string {
  return isUnclear(error) ? 'It is not known whether the user was deleted. Try again.' : 'The user was not deleted.';
}

function textsOf({ firstName, lastName, email, profileImageUrl }: Texts): Texts {
  return { firstName, lastName, email, profileImageUrl };
}

interface TextFieldProps {
  readonly path: string;
  readonly label: string;
  readonly value: string;
  readonly problem: string | undefined;
  readonly isFirst: boolean;
  onInput(value: string): void;
}

function TextField({ path, label, value, problem, isFirst, onInput }: TextFieldProps) {
  const id = useId();
  const link = path === 'profile_image_url' ? linkOf(value) : undefined;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <div class="line">
        <input
          class="input"
          id={id}
          // Never type=email or type=url: browsers trim and rewrite what is typed there.
          inputMode={path === 'email' ? 'email' : path === 'profile_image_url' ? 'url' : 'text'}
          autocomplete="off"
          autocapitalize={path.endsWith('_name') ? 'words' : 'none'}
          dir={path.endsWith('_name') ? 'auto' : undefined}
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

/** Only where a link leads to a web page: the text is somebody's, and could be a script. */
function linkOf(text: string): string | undefined {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) ? text : undefined;
}

interface ElsewhereProps {
  /** What somebody else has changed while there are changes of one's own. */
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
        Discard what you have changed?
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

/** Busy buttons are only marked so: one that is disabled loses the focus. */
function Buttons({ view, isNew, name, isBusy, onClose, onBack, onDelete }: ButtonsProps) {
  const backRef = useRef<HTMLButtonElement>(null);
  // The safe one of the two.
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
