/** Shows two versions of a user side by side, and lets the user choose one for each field that differs. */
import { Fragment } from 'preact';
import { useId } from 'preact/hooks';
import {
  differences,
  isEqual,
  isProtected,
  type JsonValue,
  labelOf,
  type UserFields,
  valueAt,
  withValues,
} from './user-fields.js';

export type Choices = Readonly<Record<string, 'mine' | 'theirs' | undefined>>;

/**
 * Returns the initial choices. If only one side changed a field, it is chosen. If both did, the user must choose. The
 * user cannot choose for attributes that they may not write.
 */
export function firstChoices(
  base: UserFields,
  mine: UserFields,
  theirs: UserFields,
  protectedKeys: ReadonlySet<string>,
): Choices {
  const paths = differences(mine, theirs).filter((path) => !isProtected(path, protectedKeys));
  return Object.fromEntries(
    paths.map((path) => {
      if (isEqual(valueAt(base, path), valueAt(mine, path))) return [path, 'theirs'];
      return [path, isEqual(valueAt(base, path), valueAt(theirs, path)) ? 'mine' : undefined];
    }),
  );
}

/** Returns the merged fields, or the first path without a choice. */
export function resolve(
  choices: Choices,
  mine: UserFields,
  theirs: UserFields,
): { fields: UserFields } | { open: string } {
  const open = Object.keys(choices).find((path) => choices[path] === undefined);
  if (open !== undefined) return { open };
  return {
    fields: withValues(
      theirs,
      mine,
      Object.keys(choices).filter((path) => choices[path] === 'mine'),
    ),
  };
}

export interface ConflictProps {
  readonly mine: UserFields;
  readonly theirs: UserFields;
  readonly choices: Choices;
  /** The field to mark, because saving needs a choice for it. */
  readonly openPath: string | undefined;
  onChoose(choices: Choices): void;
}

export function Conflict({ mine, theirs, choices, openPath, onChoose }: ConflictProps) {
  const paths = Object.keys(choices);
  const all = (side: 'mine' | 'theirs') => onChoose(Object.fromEntries(paths.map((path) => [path, side])));
  return (
    <div class="stack">
      <p>
        Somebody else has saved this user since you opened it. For each field that differs, choose the version to keep.
      </p>
      <div class="line wrap">
        <button type="button" class="button small" data-first onClick={() => all('mine')}>
          Keep all of mine
        </button>
        <button type="button" class="button small" onClick={() => all('theirs')}>
          Keep all of theirs
        </button>
      </div>
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
        {path.startsWith('attributes.') ? <span class="soft">Attribute </span> : null}
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
      {isText ? value : JSON.stringify(value, null, 2)}
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
