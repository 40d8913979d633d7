/**
 * The filter under the search: its chips, or its text as an expression. Loaded when there is a filter, or when somebody
 * starts one.
 */
import type { RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { attributeKeyOf } from '../../src/fields.js';
import type { CallError } from '../calls/call-error.js';
import type { Directory } from '../calls/directory.js';
import { CloseIcon } from '../ui/icons.js';
import { Popup } from '../ui/popup.js';
import { type ChipDraft, draftOf, draftOfColumn, newDraft } from './chip-draft.js';
import { ChipEditor } from './chip-editor.js';
import { ExpressionField } from './expression-field.js';
import { FieldPicker } from './field-picker.js';
import { type Chip, type FieldPath, isSamePath, writeChips } from './filter-chips.js';
import { chipText, chipTexts, labelOfField } from './filter-fields.js';
import { chipAt, mistakeOf } from './filter-mistake.js';
import { RareAttribute } from './rare-attribute.js';
import { readChips, withChip } from './read-chips.js';
import { isTextSearch, roomBeside, unsearchedPaths } from './text-search.js';
import { createUserSampler, type UserSample } from './user-sample.js';

export interface FilterBarProps {
  readonly filter: string;
  readonly directory: Directory;
  /** Why the server refused this filter. */
  readonly queryError: CallError | undefined;
  /** Whether the list shows the result of another query. */
  readonly isOutdated: boolean;
  /** The button that starts a new chip, how often one was started, and the last one's column; empty for none. */
  readonly opener: { readonly button: HTMLButtonElement | null; readonly presses: number; readonly columnId: string };
  onFilter(filter: string): void;
  /** Called when nothing is left to show. */
  onEmpty(): void;
}

/** Somebody chooses the field of a new chip, or has chosen a column, or edits a new chip or the one at an index. */
type Editing =
  | { readonly step: 'field' }
  | { readonly step: 'column'; readonly columnId: string }
  /** The kind of the attribute is being read. */
  | { readonly step: 'rare'; readonly path: FieldPath }
  | { readonly step: 'chip'; readonly at: number | 'new'; readonly draft: ChipDraft };

export function FilterBar({ directory, filter, queryError, isOutdated, opener, onFilter, onEmpty }: FilterBarProps) {
  const chips = readChips(filter);
  // The chip says how many of the sampled attributes it searches, and a mistake may be the name of one.
  const needsSample = queryError !== undefined || chips?.some(isTextSearch) === true;
  const { sample, load, readSample } = useSample(directory, needsSample);
  const mistake = mistakeOf(queryError, filter, sample?.fields);
  const [prefersText, setPrefersText] = useState(false);
  const firstStep = (): Editing =>
    opener.columnId === '' ? { step: 'field' } : { step: 'column', columnId: opener.columnId };
  const [editing, setEditing] = useState<Editing | undefined>(opener.presses > 0 ? firstStep : undefined);
  const handledPresses = useRef(opener.presses);
  const list = useRef<HTMLUListElement>(null);
  const isText = prefersText || chips === undefined;
  const chipButton = (at: number) => list.current?.querySelector<HTMLButtonElement>(`[data-chip="${at}"]`) ?? null;

  useEffect(() => {
    if (opener.presses > 0) load();
    if (opener.presses === handledPresses.current) return;
    handledPresses.current = opener.presses;
    setEditing((before) => (before === undefined ? firstStep() : undefined));
  }, [opener.presses]);
  useEffect(() => {
    if (filter === '' && editing === undefined && !prefersText) onEmpty();
  }, [filter, editing, prefersText]);

  const open = (at: number, chip: Chip) => {
    if (editing?.step === 'chip' && editing.at === at) return close();
    load();
    const kind = sample?.fields.find(({ path }) => isSamePath(path, chip.path))?.kind;
    setEditing({ step: 'chip', at, draft: draftOf(chip, kind) });
  };
  const close = () => setEditing(undefined);
  const anchorOf = (edited: Editing | undefined) =>
    edited?.step === 'chip' && edited.at !== 'new' ? chipButton(edited.at) : opener.button;
  const apply = (chip: Chip) => {
    close();
    const at = editing?.step === 'chip' ? editing.at : 'new';
    onFilter(at === 'new' || chips === undefined ? withChip(filter, chip) : writeChips(chips.with(at, chip)));
  };
  const remove = (at: number) => {
    onFilter(writeChips((chips ?? []).filter((_, index) => index !== at)));
    requestAnimationFrame(() => (chipButton(Math.max(0, at - 1)) ?? opener.button)?.focus());
  };

  return (
    <div class="filter-bar">
      {isText ? (
        <ExpressionField
          filter={filter}
          mistake={mistake}
          canBeChips={chips !== undefined}
          takesFocus={prefersText}
          readSample={readSample}
          onFilter={onFilter}
          onChips={() => {
            setPrefersText(false);
            opener.button?.focus();
          }}
        />
      ) : (
        <ChipsLine
          chips={chips}
          sample={sample}
          listRef={list}
          invalidAt={chipAt(chips, filter, mistake?.at)}
          openAt={editing?.step === 'chip' ? editing.at : undefined}
          onOpen={open}
          onRemove={remove}
          onClear={() => onFilter('')}
          onAdvanced={() => setPrefersText(true)}
        />
      )}
      {mistake !== undefined && (
        <p class="error" role="alert">
          {mistake.text}{' '}
          {isOutdated && <span class="hint">The list below still shows the result before this filter.</span>}
        </p>
      )}
      <EditPopup
        editing={editing}
        anchor={anchorOf(editing)}
        sample={sample}
        directory={directory}
        room={roomOf(editing, chips, filter)}
        onEdit={setEditing}
        onApply={apply}
        onAdvanced={() => {
          close();
          setPrefersText(true);
        }}
        onClose={close}
      />
    </div>
  );
}

function useSample(directory: Directory, isNeeded: boolean) {
  const [readSample] = useState(() => createUserSampler(directory));
  const [sample, setSample] = useState<UserSample>();
  const load = () => void readSample().then(setSample);
  useEffect(() => {
    if (isNeeded) load();
  }, [isNeeded]);
  return { sample, load, readSample };
}

/** The characters that the filter has for the chip that is edited. */
function roomOf(editing: Editing | undefined, chips: readonly Chip[] | undefined, filter: string): number {
  const at = editing?.step === 'chip' ? editing.at : 'new';
  return roomBeside(at === 'new' || chips === undefined ? filter : writeChips(chips.toSpliced(at, 1)));
}

interface EditPopupProps {
  readonly editing: Editing | undefined;
  readonly anchor: HTMLButtonElement | null;
  readonly sample: UserSample | undefined;
  readonly directory: Directory;
  readonly room: number;
  onEdit(editing: Editing): void;
  onApply(chip: Chip): void;
  onAdvanced(): void;
  onClose(): void;
}

function EditPopup({ editing, anchor, sample, directory, room, onEdit, onApply, onAdvanced, onClose }: EditPopupProps) {
  if (editing === undefined) return null;
  const shared = { role: 'dialog', widthPx: 364, anchor, onClose } as const;
  if (editing.step === 'field') {
    return (
      <Popup key="field" label="Add a filter" {...shared}>
        <FieldPicker
          sample={sample}
          onPick={(...picked) => onEdit({ step: 'chip', at: 'new', draft: newDraft(...picked) })}
          onPickRare={(path) => onEdit({ step: 'rare', path })}
          onAdvanced={onAdvanced}
        />
      </Popup>
    );
  }
  const rare = editing.step === 'rare' ? editing.path : rareColumn(editing, sample);
  if (rare !== undefined) {
    return (
      <Popup key="rare" label="Add a filter" {...shared}>
        <RareAttribute
          directory={directory}
          path={rare}
          onFound={(kind) => onEdit({ step: 'chip', at: 'new', draft: newDraft(rare, kind) })}
        />
      </Popup>
    );
  }
  if (editing.step === 'rare') return null;
  const at = editing.step === 'column' ? 'new' : editing.at;
  const draft = editing.step === 'column' ? draftOfColumn(editing.columnId, sample) : editing.draft;
  if (draft === undefined) {
    return (
      <Popup key="column" label="Add a filter" {...shared}>
        <p class="popup-note">Loading…</p>
      </Popup>
    );
  }
  return (
    <Popup key={`chip ${at}`} label={`Filter by ${labelOfField(draft.path)}`} {...shared}>
      <ChipEditor start={draft} isNew={at === 'new'} sample={sample} room={room} onApply={onApply} onCancel={onClose} />
    </Popup>
  );
}

/** The attribute of a chosen column, if no user of the sample has it. */
function rareColumn(editing: Editing, sample: UserSample | undefined): FieldPath | undefined {
  const key = editing.step === 'column' ? attributeKeyOf(editing.columnId) : undefined;
  if (key === undefined || sample === undefined) return undefined;
  return sample.fields.some(({ path }) => path[0] === 'attributes' && path[1] === key)
    ? undefined
    : ['attributes', key];
}

interface ChipsLineProps {
  readonly chips: readonly Chip[];
  readonly sample: UserSample | undefined;
  readonly listRef: RefObject<HTMLUListElement | null>;
  readonly invalidAt: number;
  readonly openAt: number | 'new' | undefined;
  onOpen(at: number, chip: Chip): void;
  onRemove(at: number): void;
  onClear(): void;
  onAdvanced(): void;
}

function ChipsLine(props: ChipsLineProps) {
  const { chips, sample, listRef, invalidAt, openAt, onOpen, onRemove, onClear, onAdvanced } = props;
  if (chips.length === 0) return null;
  return (
    <div class="chips-line">
      <ul class="chips" aria-label="Filters" ref={listRef}>
        {chips.map((chip, at) => (
          <ChipButton
            // A chip that is edited stays the same element, and keeps the focus.
            key={`chip ${at}`}
            chip={chip}
            unsearched={isTextSearch(chip) ? unsearchedPaths(chip, sample?.fields ?? []).length : 0}
            at={at}
            isInvalid={at === invalidAt}
            isOpen={at === openAt}
            onOpen={() => onOpen(at, chip)}
            onRemove={() => onRemove(at)}
          />
        ))}
      </ul>
      <button type="button" class="button quiet small" onClick={onClear}>
        Clear
      </button>
      <button type="button" class="button quiet small" onClick={onAdvanced}>
        Advanced
      </button>
    </div>
  );
}

interface ChipButtonProps {
  readonly chip: Chip;
  /** The number of sampled attributes that it does not search. */
  readonly unsearched: number;
  readonly at: number;
  readonly isInvalid: boolean;
  readonly isOpen: boolean;
  onOpen(): void;
  onRemove(): void;
}

function ChipButton({ chip, unsearched, at, isInvalid, isOpen, onOpen, onRemove }: ChipButtonProps) {
  const { field, operator, values } = chipTexts(chip, unsearched);
  const text = chipText(chip, unsearched);
  const allValues = chipTexts(chip, unsearched, chip.values.length).values;
  return (
    <li class={`chip${isInvalid ? ' invalid' : ''}`}>
      <button
        type="button"
        class="chip-edit"
        data-chip={at}
        aria-haspopup="dialog"
        aria-expanded={isOpen}
        title={text}
        onClick={onOpen}
        onKeyDown={(event) => {
          if (event.key !== 'Delete' && event.key !== 'Backspace') return;
          event.preventDefault();
          onRemove();
        }}
      >
        <bdi class="chip-field">{field}</bdi> {operator !== '' && <span class="chip-operator">{operator}</span>}{' '}
        {values !== '' && (
          <bdi class="chip-values truncate">
            {values === allValues ? (
              values
            ) : (
              <>
                <span class="on-screen">{values}</span>
                <span class="on-paper">{allValues}</span>
              </>
            )}
          </bdi>
        )}
      </button>
      <button type="button" class="chip-remove" aria-label={`Remove: ${text}`} onClick={onRemove}>
        <CloseIcon />
      </button>
    </li>
  );
}
