/** The saved views: opens, renames and deletes them, saves a new one, and chooses the one that the page starts with. */
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { allPeople } from '../address/route.js';
import { BinIcon, HomeIcon, RenameIcon } from '../ui/icons.js';
import { type SavedView, type SavedViews, viewNameMax } from './saved-views.js';

/** The name of the list without a search, a filter or a saved view. */
const allUsers = 'All users';

export interface ViewsPanelProps {
  readonly saved: SavedViews;
  /** The current search, filter, order and columns, under the name of the view that was opened. */
  readonly current: SavedView;
  /** Whether the saved view with this name is different. */
  readonly isEdited: boolean;
  onOpen(view: SavedView): void;
  onRename(from: string, to: string): void;
  onSave(view: SavedView): void;
}

export function ViewsPanel({ saved, current, isEdited, onOpen, onRename, onSave }: ViewsPanelProps) {
  const { views, startName } = saved;
  const panel = useRef<HTMLDivElement>(null);
  // The popup may have opened before the code of this panel was there.
  useLayoutEffect(() => panel.current?.querySelector('button')?.focus(), []);
  const original = views.find(({ name }) => name === current.name);
  const { name, query, filter, orderBy, columns } = current;
  const content = { query, filter, orderBy, columns };
  const shared = {
    startName,
    currentName: name,
    onOpen,
    onStart: saved.startWith,
    names: views.map((view) => view.name),
  };
  return (
    <div class="views-panel" ref={panel}>
      <ul aria-label="Views">
        <ViewRow view={allPeople} {...shared} />
        {views.map((view) => (
          <ViewRow
            key={view.name}
            view={view}
            {...shared}
            onRename={(to) => onRename(view.name, to)}
            onRemove={() => saved.remove(view.name)}
          />
        ))}
      </ul>
      <hr />
      {original !== undefined && isEdited && (
        <div class="line wrap views-edited">
          <button type="button" class="button primary small" onClick={() => onSave({ name, ...content })}>
            Save changes
          </button>
          <button type="button" class="button small" onClick={() => onOpen(original)}>
            Discard changes
          </button>
        </div>
      )}
      <NameForm
        label="Save as a new view"
        start={original === undefined ? name : ''}
        action="Save"
        taken={views.map((view) => view.name)}
        onName={(chosen) => onSave({ name: chosen, ...content })}
      />
    </div>
  );
}

interface ViewRowProps {
  readonly view: SavedView;
  readonly startName: string;
  readonly currentName: string;
  readonly names: readonly string[];
  onOpen(view: SavedView): void;
  onStart(name: string): void;
  /** All users can be neither renamed nor deleted. */
  onRename?(to: string): void;
  onRemove?(): void;
}

function ViewRow({ view, startName, currentName, names, onOpen, onStart, onRename, onRemove }: ViewRowProps) {
  const [step, setStep] = useState<'rename' | 'remove'>();
  const label = view.name === '' ? allUsers : view.name;
  if (step === 'rename') {
    return (
      <li>
        <NameForm
          label={`New name of ${label}`}
          start={label}
          action="Rename"
          taken={names.filter((name) => name !== view.name)}
          hasFocus
          onName={(to) => {
            setStep(undefined);
            onRename?.(to);
          }}
        />
      </li>
    );
  }
  return (
    <li class="view-row">
      <button
        type="button"
        class="view-open truncate"
        aria-current={view.name === currentName ? 'true' : undefined}
        onClick={() => onOpen(view)}
      >
        <bdi>{label}</bdi>
      </button>
      {step === 'remove' ? (
        <button type="button" class="button danger small" onClick={onRemove} onBlur={() => setStep(undefined)}>
          Delete {label}
        </button>
      ) : (
        <>
          {onRename !== undefined && (
            <RowButton label={`Rename ${label}`} run={() => setStep('rename')}>
              <RenameIcon />
            </RowButton>
          )}
          {onRemove !== undefined && (
            <RowButton label={`Delete ${label}…`} run={() => setStep('remove')}>
              <BinIcon />
            </RowButton>
          )}
          <RowButton label={`Start with ${label}`} isPressed={view.name === startName} run={() => onStart(view.name)}>
            <HomeIcon />
          </RowButton>
        </>
      )}
    </li>
  );
}

interface RowButtonProps {
  readonly label: string;
  readonly isPressed?: boolean;
  readonly children: ComponentChildren;
  run(): void;
}

function RowButton({ label, isPressed, children, run }: RowButtonProps) {
  return (
    <button
      type="button"
      class="button quiet icon small"
      aria-label={label}
      title={label}
      aria-pressed={isPressed}
      onClick={run}
    >
      {children}
    </button>
  );
}

interface NameFormProps {
  readonly label: string;
  readonly start: string;
  readonly action: string;
  readonly taken: readonly string[];
  readonly hasFocus?: boolean;
  onName(name: string): void;
}

function NameForm({ label, start, action, taken, hasFocus = false, onName }: NameFormProps) {
  const [name, setName] = useState(start);
  const [problem, setProblem] = useState('');
  const field = useRef<HTMLInputElement>(null);
  // Before the next key.
  useLayoutEffect(() => {
    if (hasFocus) field.current?.select();
  }, [hasFocus]);
  return (
    <form
      class="view-name"
      onSubmit={(event) => {
        event.preventDefault();
        const tidied = name.trim().replace(/\s+/g, ' ');
        const isTaken = [allUsers, ...taken].some((other) => other.toLowerCase() === tidied.toLowerCase());
        if (tidied !== '' && !isTaken) return onName(tidied);
        setProblem(tidied === '' ? 'Enter a name.' : 'Another view has this name.');
        field.current?.focus();
      }}
    >
      <input
        class="input"
        aria-label={label}
        aria-invalid={problem !== ''}
        placeholder={label}
        maxLength={viewNameMax}
        dir="auto"
        autocomplete="off"
        value={name}
        ref={field}
        onInput={(event) => {
          setName(event.currentTarget.value);
          setProblem('');
        }}
      />
      <button type="submit" class="button small">
        {action}
      </button>
      {problem !== '' && (
        <p class="error" role="alert">
          {problem}
        </p>
      )}
    </form>
  );
}
