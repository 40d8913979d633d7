/** The panel that chooses the columns of the list, their order, and the density. */
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { User } from '../../generated/users/v1/user.js';
import { attributePath } from '../../src/fields.js';
import { foldText } from '../text/fold-text.js';
import { ArrowDownIcon, ArrowUpIcon } from '../ui/icons.js';
import { columnOf, keysOf, ownColumnIds } from './columns.js';
import { densities, type GridSettings } from './grid-settings.js';
import type { UserList } from './user-list.js';

export interface ColumnsPanelProps {
  readonly list: UserList;
  readonly columnIds: readonly string[];
  readonly settings: GridSettings;
  /** Called if the page is to choose the columns. */
  onAutomatic(): void;
  /** Whether the rows are cards, which have no density. */
  readonly isCards?: boolean;
}

/** The keys of a large directory with many different attributes would not be readable. */
const keysMax = 200;

export function ColumnsPanel({ list, columnIds, settings, onAutomatic, isCards = false }: ColumnsPanelProps) {
  const onColumns = (ids: readonly string[] | undefined) => settings.change({ columns: ids });
  const [known, addKnown] = useKnownColumns(list, columnIds);
  const shown = known.filter((id) => columnIds.includes(id));
  const move = (id: string, step: number) => {
    const at = columnIds.indexOf(id);
    const next = columnIds.filter((other) => other !== id);
    next.splice(at + step, 0, id);
    onColumns(next);
  };
  const toggle = (id: string) =>
    onColumns(columnIds.includes(id) ? columnIds.filter((other) => other !== id) : [...columnIds, id]);
  const ordered = [...columnIds.filter((id) => shown.includes(id)), ...known.filter((id) => !columnIds.includes(id))];
  const [text, setText] = useState('');
  const search = useRef<HTMLInputElement>(null);
  const choices = useRef<HTMLFieldSetElement>(null);
  // The popup may have opened before the code of this panel was there.
  useLayoutEffect(() => (isCards ? choices : search).current?.focus(), []);
  const found = ordered.filter((id) => foldText(labelOf(id)).includes(foldText(text.trim())));
  const [only] = found.length === 1 ? found : [];
  return (
    <>
      {isCards ? (
        <p class="popup-note">A card has room for the name, two other columns, and a time.</p>
      ) : (
        <DensityChoice settings={settings} />
      )}
      {/* On a phone, a focused search would show a keyboard that covers the columns. */}
      <fieldset
        ref={choices}
        class="column-list"
        tabIndex={-1}
        data-focus={isCards ? '' : undefined}
        onKeyDown={(event) => typeInto(search.current, event)}
      >
        <legend>Columns</legend>
        <div class="column-search">
          <input
            ref={search}
            class="input"
            type="search"
            data-focus
            aria-label="Find a column"
            placeholder="Find a column"
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            dir="auto"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
            onKeyDown={({ key }) => key === 'Enter' && only !== undefined && only !== 'name' && toggle(only)}
          />
        </div>
        {found.map((id) => (
          <ColumnChoice
            key={id}
            id={id}
            at={columnIds.indexOf(id)}
            isLast={columnIds.at(-1) === id}
            // Between the columns that were found there are others.
            canMove={text.trim() === ''}
            onToggle={() => toggle(id)}
            onMove={(step) => move(id, step)}
          />
        ))}
        <p class="popup-note" role="status" hidden={found.length > 0}>
          {found.length === 0 &&
            'No column has this name. Neither the loaded users nor a sample of the others has such an attribute.'}
        </p>
        {found.length === 0 && (
          <button
            type="button"
            class="button small"
            onClick={() => {
              const id = attributePath(text.trim());
              addKnown([id]);
              onColumns([...columnIds, id]);
            }}
          >
            <span class="truncate">
              Show the attribute “<bdi>{text.trim()}</bdi>”
            </span>
          </button>
        )}
      </fieldset>
      <button
        type="button"
        class="button quiet small"
        onClick={() => {
          settings.change({ widths: {} });
          onColumns(undefined);
          onAutomatic();
        }}
      >
        Choose columns automatically
      </button>
    </>
  );
}

/**
 * The ids of the columns that the panel offers, and a function that adds some. They stay in their order while the panel is
 * open, so that the focus stays where it is.
 */
function useKnownColumns(list: UserList, columnIds: readonly string[]) {
  const columnsOf = (users: Iterable<User>) => keysOf(users).slice(0, keysMax).map(attributePath);
  const [known, setKnown] = useState(() => [
    ...new Set([...columnIds, ...ownColumnIds, ...columnsOf(list.loadedUsers())]),
  ]);
  const addKnown = (ids: readonly string[]) => setKnown((before) => [...new Set([...before, ...ids])]);
  useEffect(() => {
    const controller = new AbortController();
    const read = async () => {
      const { readSampledUsers } = await import('../calls/sampled-users.js');
      addKnown(columnsOf(await readSampledUsers(list.directory, controller.signal)));
    };
    // The loaded rows have most attributes.
    read().catch(() => {});
    return () => controller.abort();
  }, [list.directory]);
  return [known, addKnown] as const;
}

const labelOf = (id: string) => columnOf(id)?.label ?? id;

/** Moves the focus to the search before the browser inserts the letter. */
function typeInto(search: HTMLInputElement | null, { key, ctrlKey, metaKey, altKey }: KeyboardEvent): void {
  if ([...key].length === 1 && key !== ' ' && !ctrlKey && !metaKey && !altKey) search?.focus();
}

function DensityChoice({ settings }: { settings: GridSettings }) {
  return (
    <fieldset class="segments">
      <legend>Density</legend>
      {Object.entries(densities).map(([value, label]) => (
        <label key={value}>
          <input
            type="radio"
            name="density"
            checked={settings.look.density === value}
            onChange={() => settings.change({ density: value === 'compact' ? 'compact' : 'comfortable' })}
          />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  );
}

interface ColumnChoiceProps {
  readonly id: string;
  /** The column's place; -1 if it is hidden. */
  readonly at: number;
  readonly isLast: boolean;
  readonly canMove: boolean;
  onToggle(): void;
  onMove(step: number): void;
}

function ColumnChoice({ id, at, isLast, canMove, onToggle, onMove }: ColumnChoiceProps) {
  const label = labelOf(id);
  return (
    <div class="column-choice">
      <label class="grow">
        <input type="checkbox" checked={at >= 0} disabled={id === 'name'} onChange={onToggle} />
        <span class="truncate">{label}</span>
      </label>
      {at >= 0 && canMove && (
        <>
          <MoveButton label={`Move ${label} up`} isDisabled={at === 0} onClick={() => onMove(-1)}>
            <ArrowUpIcon />
          </MoveButton>
          <MoveButton label={`Move ${label} down`} isDisabled={isLast} onClick={() => onMove(1)}>
            <ArrowDownIcon />
          </MoveButton>
        </>
      )}
    </div>
  );
}

interface MoveButtonProps {
  readonly label: string;
  readonly isDisabled: boolean;
  readonly children: ComponentChildren;
  onClick(): void;
}

/** Stays focusable at the end, so that repeated presses do not lose the focus. */
function MoveButton({ label, isDisabled, children, onClick }: MoveButtonProps) {
  return (
    <button
      type="button"
      class="button quiet icon tiny"
      aria-label={label}
      title={label}
      aria-disabled={isDisabled}
      onClick={() => {
        if (!isDisabled) onClick();
      }}
    >
      {children}
    </button>
  );
}
