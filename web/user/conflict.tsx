/**
 * Merges two versions of a user. The user chooses for each field that both versions changed, and sees them side by side.
 */
import { Fragment } from 'preact';
import { useId } from 'preact/hooks';
import { attributeKeyOf } from '../../src/fields.js';
import { ValueText } from '../ui/breakable-text.js';
import {
  differences,
  isProtected,
  type JsonValue,
  labelOf,
  type UserFields,
  valueAt,
  withValues,
} from '../users/user-fields.js';

export type Choices = Readonly<Record<string, 'mine' | 'theirs' | undefined>>;

export interface Merge {
  /** Their version with the fields that only mine changed. */
  readonly fields: UserFields;
  /** The fields that only one version changed. */
  readonly paths: readonly string[];
  /** The fields that both versions changed. */
  readonly choices: Choices;
}

/** Leaves out attributes that the user may not write. */
export function mergeOf(
  base: UserFields,
  mine: UserFields,
  theirs: UserFields,
  protectedKeys: ReadonlySet<string>,
): Merge {
  const differing = differences(mine, theirs).filter((path) => !isProtected(path, protectedKeys));
  const byMe = new Set(differences(base, mine));
  const byThem = new Set(differences(base, theirs));
  const isConflict = (path: string) => byMe.has(path) && byThem.has(path);
  return {
    fields: withValues(
      theirs,
      mine,
      differing.filter((path) => !byThem.has(path)),
    ),
    paths: differing.filter((path) => !isConflict(path)),
    choices: Object.fromEntries(differing.filter(isConflict).map((path) => [path, undefined])),
  };
}

/** Returns the merged fields, or the first path without a choice. */
export function resolve({ fields, choices }: Merge, mine: UserFields): { fields: UserFields } | { open: string } {
  const paths = Object.keys(choices);
  const open = paths.find((path) => choices[path] === undefined);
  if (open !== undefined) return { open };
  return {
    fields: withValues(
      fields,
      mine,
      paths.filter((path) => choices[path] === 'mine'),
    ),
  };
}

export interface ConflictProps {
  readonly mine: UserFields;
  readonly theirs: UserFields;
  readonly merge: Merge;
  /** The field to mark, because saving needs a choice for it. */
  readonly openPath: string | undefined;
  onChoose(choices: Choices): void;
}

export function Conflict({ mine, theirs, merge, openPath, onChoose }: ConflictProps) {
  const { choices } = merge;
  const paths = Object.keys(choices);
  const all = (side: 'mine' | 'theirs') => onChoose(Object.fromEntries(paths.map((path) => [path, side])));
  return (
    <div class="stack">
      <p>
        Somebody else has saved this user since you opened it.{' '}
        {paths.length === 0
          ? 'No field was changed in both versions.'
          : 'For each field that both versions changed, choose the version to keep.'}
      </p>
      {merge.paths.length === 0 ? null : (
        <p>
          Changed in only one version, and kept: <Labels paths={merge.paths} />.
        </p>
      )}
      {paths.length === 0 ? null : (
        <div class="line wrap">
          <button type="button" class="button small" data-first onClick={() => all('mine')}>
            Keep all of mine
          </button>
          <button type="button" class="button small" onClick={() => all('theirs')}>
            Keep all of theirs
          </button>
        </div>
      )}
      {paths.map((path) => (
        <ConflictField
          key={path}
          path={path}
          mine={valueAt(mine, path)}
          theirs={valueAt(theirs, path)}
          chosen={choices[path]}
          isOpen={openPath === path}
          onChoose={(side) => onChoose({ ...choices, [path]: side })}
        />
      ))}
    </div>
  );
}

interface ConflictFieldProps {
  readonly path: string;
  readonly mine: JsonValue | undefined;
  readonly theirs: JsonValue | undefined;
  readonly chosen: 'mine' | 'theirs' | undefined;
  readonly isOpen: boolean;
  onChoose(side: 'mine' | 'theirs'): void;
}

function ConflictField({ path, mine, theirs, chosen, isOpen, onChoose }: ConflictFieldProps) {
  const name = useId();
  const problemId = useId();
  const sides = [
    { side: 'mine', title: 'Mine', value: mine },
    { side: 'theirs', title: 'Theirs', value: theirs },
  ] as const;
  return (
    <fieldset class="conflict-field" data-field={path} aria-describedby={isOpen ? problemId : undefined}>
      <legend>
        {attributeKeyOf(path) !== undefined ? <span class="soft">Attribute </span> : null}
        <bdi>{labelOf(path) || '(empty key)'}</bdi>
      </legend>
      <div class="conflict-sides">
        {sides.map(({ side, title, value }) => (
          <label key={side} class="conflict-side">
            <input
              type="radio"
              name={name}
              checked={chosen === side}
              aria-invalid={isOpen}
              onChange={() => onChoose(side)}
            />
            <span class="conflict-title">{title}</span>
            <Value value={value} />
          </label>
        ))}
      </div>
      {isOpen ? (
        <p class="error" id={problemId}>
          Both versions changed this field. Choose one.
        </p>
      ) : null}
    </fieldset>
  );
}

function Value({ value }: { value: JsonValue | undefined }) {
  if (value === undefined) return <em class="conflict-value">not set</em>;
  if (value === '') return <em class="conflict-value">empty</em>;
  const isText = typeof value === 'string';
  return (
    <span class={isText ? 'conflict-value' : 'conflict-value mono'} dir={isText ? 'auto' : undefined}>
      {isText ? <ValueText text={value} /> : JSON.stringify(value, null, 2)}
    </span>
  );
}

/** Names of fields for a sentence: "Email, department". Each keeps its own text direction. */
export function Labels({ paths }: { paths: readonly string[] }) {
  return (
    <>
      {paths.map((path, index) => (
        <Fragment key={path}>
          {index === 0 ? null : ', '}
          <bdi>{labelOf(path) || '(empty key)'}</bdi>
        </Fragment>
      ))}
    </>
  );
}
