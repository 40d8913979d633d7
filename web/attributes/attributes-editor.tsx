/** The rows in which a user edits attributes. It keeps no state, and passes each change to its parent. */
import { useId, useLayoutEffect, useRef } from 'preact/hooks';
import type { Directory } from '../calls/directory.js';
import { BreakableText } from '../ui/breakable-text.js';
import {
  type AttributeProblem,
  type AttributeRow,
  type AttributeType,
  attributeTypes,
  newRow,
  numberHint,
  similarKey,
  withChosenType,
} from '../users/attributes.js';
import { isNumberAsText, offeredRows, othersNoun, type UsedAttributes, withKey } from '../users/used-attributes.js';
import { violationText } from '../users/user-fields.js';
import { AttributeInput } from './attribute-input.js';
import { AttributeValue } from './attribute-value.js';
import { isPlainEnter } from './suggested-text.js';
import { useSampledAttributes } from './use-attribute-types.js';

export interface AttributesEditorProps {
  readonly directory: Directory;
  /** Undefined for a new user. */
  readonly userId: string | undefined;
  readonly rows: readonly AttributeRow[];
  /** The key is the id of the row. */
  readonly problems: ReadonlyMap<number, AttributeProblem>;
  /** The server's violation for the attributes as a whole. */
  readonly problem?: string | undefined;
  readonly isReadOnly: boolean;
  /** The keys that the caller may not write. */
  readonly protectedKeys: ReadonlySet<string>;
  onChange(rows: readonly AttributeRow[]): void;
}

export function AttributesEditor(props: AttributesEditorProps) {
  const { directory, userId, rows, problems, problem, isReadOnly, protectedKeys, onChange } = props;
  const groupRef = useRef<HTMLFieldSetElement>(null);
  const addRef = useRef<HTMLButtonElement>(null);
  const problemId = useId();
  const keysId = useId();
  const isNewUser = userId === undefined;
  const known = useSampledAttributes(directory, (isNewUser || rows.length > 0) && !isReadOnly, userId);
  const hasOffered = useRef(false);
  // They may be known only after a key was typed. The field of a value in which somebody types stays as it is. An effect
  // that waits for a frame could undo what is typed meanwhile.
  useLayoutEffect(() => {
    if (known === undefined) return;
    const typed = rows.map((row) => (row.isNew === true && row.text === '' ? withKey(row, row.key, known) : row));
    // After the others, so that no field moves. A row that was removed must not come back.
    const offered = isNewUser && !hasOffered.current ? offeredRows(known, rows, protectedKeys) : [];
    hasOffered.current = true;
    const isChanged = typed.some(({ type }, index) => type !== rows[index]?.type);
    if (isChanged || offered.length > 0) onChange([...typed, ...offered]);
  }, [known]);
  const ownKeys = rows.filter((row) => !hasKeyField(row)).map(({ key }) => key);
  const keys = [...new Set([...ownKeys, ...(known?.keys() ?? [])])];

  function replace(edited: AttributeRow): void {
    onChange(rows.map((row) => (row.id === edited.id ? edited : row)));
  }

  function add(): void {
    onChange([...rows, newRow()]);
    requestAnimationFrame(() => {
      // Not simply the last row: offered rows may have arrived after it.
      const keyFields = groupRef.current?.querySelectorAll<HTMLElement>('.with-key > input') ?? [];
      [...keyFields].at(-1)?.focus();
    });
  }

  function remove(row: AttributeRow): void {
    onChange(rows.filter(({ id }) => id !== row.id));
    // The focused button was removed with its row.
    addRef.current?.focus();
  }

  return (
    <fieldset
      ref={groupRef}
      class="attributes facts"
      data-field="attributes"
      aria-describedby={problem === undefined ? undefined : problemId}
    >
      <legend>Attributes</legend>
      {rows.map((row, index) => (
        <AttributeFields
          key={row.id}
          row={row}
          number={index + 1}
          problem={problems.get(row.id)}
          known={known}
          keys={keys}
          keysId={keysId}
          isReadOnly={isReadOnly || (row.untouched !== undefined && protectedKeys.has(row.key))}
          onChange={replace}
          onRemove={() => remove(row)}
        />
      ))}
      <datalist id={keysId}>
        {keys
          .filter((key) => !ownKeys.includes(key) && !protectedKeys.has(key))
          .map((key) => (
            <option key={key} value={key} />
          ))}
      </datalist>
      {problem === undefined ? null : (
        <p class="error" id={problemId}>
          {violationText('Attributes', problem)}
        </p>
      )}
      {isReadOnly ? null : (
        <button ref={addRef} type="button" class="button small quiet add" onClick={add}>
          Add attribute
        </button>
      )}
    </fieldset>
  );
}

function hasKeyField({ isNew, isOffered }: AttributeRow): boolean {
  return isNew === true && isOffered !== true;
}

/** Stand for the types in the narrow list of types. The list itself has their names. */
const typeSigns: Readonly<Record<AttributeType, string>> = {
  text: 'Aa',
  number: '12',
  boolean: '✓',
  date: '31',
  link: '↗',
  list: '≡',
  null: '∅',
  json: '{}',
};

interface AttributeFieldsProps {
  readonly row: AttributeRow;
  readonly number: number;
  readonly problem: AttributeProblem | undefined;
  /** The attributes of other users; undefined until they are known. */
  readonly known: UsedAttributes | undefined;
  /** The keys that are known to exist. */
  readonly keys: readonly string[];
  /** The id of the list that offers keys. */
  readonly keysId: string;
  readonly isReadOnly: boolean;
  onChange(row: AttributeRow): void;
  onRemove(): void;
}

function AttributeFields(props: AttributeFieldsProps) {
  const { row, number, problem, known, keys, keysId, isReadOnly, onChange, onRemove } = props;
  const problemId = useId();
  const similarId = useId();
  const hintId = useId();
  const isKeyEdited = hasKeyField(row);
  const similar = isKeyEdited ? similarKey(row.key, keys) : undefined;
  const name = row.key === '' ? `attribute ${number}` : row.key;
  const noun = isReadOnly ? undefined : othersNoun(row, known);
  const hints = [
    ...(isReadOnly ? [] : [numberHint(row)]),
    noun === undefined ? undefined : `Other users have ${noun} here.`,
    noun === undefined && isNumberAsText(row, known) ? 'This will be text, not a number.' : undefined,
  ].filter((text) => text !== undefined);
  const hint = hints.length === 0 ? undefined : hints.join(' ');
  const described = (part: AttributeProblem['part'], id?: string) => {
    if (problem?.part === part) return { 'aria-invalid': true, 'aria-describedby': problemId };
    return id === undefined ? {} : { 'aria-describedby': id };
  };
  return (
    <div class={isKeyEdited ? 'attribute with-key' : 'attribute'}>
      {isKeyEdited ? (
        <input
          class="input"
          aria-label={`Key of attribute ${number}`}
          placeholder="key"
          list={keysId}
          dir="auto"
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          value={row.key}
          {...described('key', similar === undefined ? undefined : similarId)}
          onInput={(event) => onChange(withKey(row, event.currentTarget.value, known))}
          onKeyDown={(event) => {
            // Enter would save the form before the value was typed.
            const value = event.currentTarget.parentElement?.querySelector<HTMLElement>(
              '.attribute-value :is(input, textarea)',
            );
            if (!isPlainEnter(event) || value == null) return;
            event.preventDefault();
            value.focus();
          }}
        />
      ) : (
        <span class="attribute-key" dir="auto">
          {row.key === '' ? <em>(empty key)</em> : <BreakableText text={row.key} />}
        </span>
      )}
      {isReadOnly ? (
        <div class="attribute-value is-read">
          {row.untouched === undefined ? row.text : <AttributeValue value={row.untouched.value} />}
        </div>
      ) : (
        <>
          <div class="attribute-value">
            <AttributeInput
              row={row}
              label={`Value of ${name}`}
              suggestions={known?.get(row.key)?.suggestions ?? []}
              invalid={described('value', hint === undefined ? undefined : hintId)}
              onChange={onChange}
            />
          </div>
          <span class="attribute-type" title={attributeTypes[row.type]}>
            <span aria-hidden="true">{typeSigns[row.type]}</span>
            <select
              aria-label={`Type of ${name}`}
              value={row.type}
              onChange={(event) => onChange(withChosenType(row, event.currentTarget.value as AttributeType))}
            >
              {Object.entries(attributeTypes).map(([type, label]) => (
                <option key={type} value={type}>
                  {label}
                </option>
              ))}
            </select>
          </span>
          <button type="button" class="button quiet icon" aria-label={`Remove ${name}`} onClick={onRemove}>
            <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
              <path d="M3.5 8h9" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" />
            </svg>
          </button>
        </>
      )}
      {similar === undefined ? null : (
        <p class="hint" id={similarId} role="status">
          There is also “<bdi>{similar}</bdi>”.
        </p>
      )}
      {hint === undefined ? null : (
        <p class="hint value-hint" id={hintId} role="status">
          {hint}
        </p>
      )}
      {problem === undefined ? null : (
        <p class="error" id={problemId}>
          {problem.message}
        </p>
      )}
    </div>
  );
}
