/** Chooses the attributes in which a chip searches a text, and says which of them the filter has no room for. */
import { Fragment } from 'preact';
import { useState } from 'preact/hooks';
import { formatCount } from '../text/format.js';
import { type ChipDraft, chipOf } from './chip-draft.js';
import { type FieldPath, isSamePath } from './filter-chips.js';
import { labelOfField } from './filter-fields.js';
import { searchedBy, searchIn, searchOfRest, unsearchedPaths } from './text-search.js';
import { searchedPaths, type UserSample } from './user-sample.js';

export interface SearchedAttributesProps {
  readonly draft: ChipDraft;
  readonly start: ChipDraft;
  readonly sample: UserSample | undefined;
  readonly room: number;
  onChange(draft: ChipDraft): void;
}

/** At least one attribute stays chosen. */
export function SearchedAttributes({ draft, start, sample, room, onChange }: SearchedAttributesProps) {
  const [added, setAdded] = useState<readonly FieldPath[]>([]);
  const isIn = (paths: readonly FieldPath[], path: FieldPath) => paths.some((each) => isSamePath(each, path));
  const sampled = searchedPaths(sample?.fields ?? []);
  const own = [...searchedBy(start), ...added].filter((path) => !isIn(sampled, path));
  const all = [...own, ...sampled];
  const chosen = searchedBy(draft);
  const choose = (paths: readonly FieldPath[], known = all) => {
    const [first, ...others] = known.filter((path) => isIn(paths, path));
    if (first !== undefined) onChange({ ...draft, path: first, others });
  };
  return (
    <fieldset class="searched">
      <legend class="faint">Search in</legend>
      <div class="searched-list">
        {all.map((path) => {
          const isChosen = isIn(chosen, path);
          return (
            <label key={JSON.stringify(path)}>
              <input
                type="checkbox"
                checked={isChosen}
                disabled={isChosen && chosen.length === 1}
                onChange={() => choose(isChosen ? chosen.filter((each) => !isSamePath(each, path)) : [...chosen, path])}
              />
              <bdi class="truncate">{labelOfField(path)}</bdi>
            </label>
          );
        })}
      </div>
      <AddedAttribute
        onAdd={(path) => {
          if (!isIn(all, path)) setAdded([...added, path]);
          if (!isIn(chosen, path)) choose([path, ...chosen], isIn(all, path) ? all : [path, ...all]);
        }}
      />
      <Unsearched draft={draft} sample={sample} room={room} onChange={onChange} />
    </fieldset>
  );
}

type UnsearchedProps = Pick<SearchedAttributesProps, 'draft' | 'sample' | 'room' | 'onChange'>;

/** Names the attributes that have no room. The checkboxes show which ones somebody has left out. */
function Unsearched({ draft, sample, room, onChange }: UnsearchedProps) {
  const result = chipOf(draft);
  if (!('chip' in result)) return null;
  const chip = searchIn(result.chip, searchedBy(draft), room);
  const left = unsearchedPaths(chip, sample?.fields ?? []);
  const all = [...searchedBy(chip), ...left];
  const roomFor = searchedBy(searchIn(chip, all, room)).length;
  if (roomFor === all.length) return null;
  const searchRest = () => {
    const { path, others = [] } = searchOfRest(chip, sample?.fields ?? [], room);
    onChange({ ...draft, path, others });
  };
  return (
    <p class="hint" role="status">
      A filter has room for {formatCount(roomFor)} of {formatCount(all.length)} attributes. Not searched:{' '}
      <PathNames paths={left} />.{' '}
      <button type="button" class="text-button" onClick={searchRest}>
        Choose these
      </button>
    </p>
  );
}

interface AddedAttributeProps {
  onAdd(path: FieldPath): void;
}

/** An attribute that no sampled user has. A dot separates the keys of nested attributes. */
function AddedAttribute({ onAdd }: AddedAttributeProps) {
  return (
    <input
      class="input"
      aria-label="Search in another attribute"
      placeholder="Another attribute, then Enter"
      dir="auto"
      autocomplete="off"
      autocapitalize="off"
      spellcheck={false}
      onKeyDown={(event) => {
        const field = event.currentTarget;
        if (event.key !== 'Enter' || event.isComposing || field.value.trim() === '') return;
        event.preventDefault();
        const keys = field.value.trim().split('.');
        if (keys.some((key) => key.trim() === '')) return;
        onAdd(['attributes', ...keys]);
        field.value = '';
      }}
    />
  );
}

const namedMax = 3;

/** Such as “notes, website and 4 more”. */
export function PathNames({ paths }: { paths: readonly FieldPath[] }) {
  const named = paths.length === namedMax + 1 ? paths : paths.slice(0, namedMax);
  const more = paths.length - named.length;
  return (
    <>
      {named.map((path, at) => (
        <Fragment key={JSON.stringify(path)}>
          {at > 0 && (at === named.length - 1 && more === 0 ? ' and ' : ', ')}
          <bdi>{labelOfField(path)}</bdi>
        </Fragment>
      ))}
      {more > 0 && ` and ${formatCount(more)} more`}
    </>
  );
}
