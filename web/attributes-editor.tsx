/** The rows in which a user edits attributes. It keeps no state, and passes each change to its parent. */
import { useId, useRef } from 'preact/hooks';
import {
  type AttributeProblem,
  type AttributeRow,
  type AttributeType,
  attributeTypes,
  newRow,
  withText,
  withType,
} from './attributes.js';

export interface AttributesEditorProps {
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
  const { rows, problems, problem, isReadOnly, protectedKeys, onChange } = props;
  const groupRef = useRef<HTMLFieldSetElement>(null);
  const addRef = useRef<HTMLButtonElement>(null);
  const problemId = useId();

  function replace(edited: AttributeRow): void {
    onChange(rows.map((row) => (row.id === edited.id ? edited : row)));
  }

  function add(): void {
    onChange([...rows, newRow()]);
    requestAnimationFrame(() => {
      groupRef.current?.querySelector<HTMLElement>('.attribute:last-of-type input')?.focus();
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
      class="attributes"
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
          isReadOnly={isReadOnly || (row.untouched !== undefined && protectedKeys.has(row.key))}
          onChange={replace}
          onRemove={() => remove(row)}
        />
      ))}
      {isReadOnly ? (
        rows.length === 0 && <p class="hint">None</p>
      ) : (
        <button ref={addRef} type="button" class="button small" onClick={add}>
          Add attribute
        </button>
      )}
      {problem === undefined ? null : (
        <p class="error" id={problemId}>
          Attributes {problem}
        </p>
      )}
    </fieldset>
  );
}

interface AttributeFieldsProps {
  readonly row: AttributeRow;
  readonly number: number;
  readonly problem: AttributeProblem | undefined;
  readonly isReadOnly: boolean;
  onChange(row: AttributeRow): void;
  onRemove(): void;
}

function AttributeFields({ row, number, problem, isReadOnly, onChange, onRemove }: AttributeFieldsProps) {
  const problemId = useId();
  const name = row.key === '' ? `attribute ${number}` : row.key;
  const described = (part: AttributeProblem['part']) =>
    problem?.part === part ? { 'aria-invalid': true, 'aria-describedby': problemId } : {};
  const value = {
    class: row.type === 'number' || row.type === 'json' ? 'input mono' : 'input',
    'aria-label': `Value of ${name}`,
    ...described('value'),
    value: row.text,
    readOnly: isReadOnly,
  };
  const onText = (event: { currentTarget: { value: string } }) => onChange(withText(row, event.currentTarget.value));

  return (
    <div class="attribute">
      <input
        class="input"
        aria-label={`Key of attribute ${number}`}
        placeholder="key"
        dir="auto"
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
        value={row.key}
        readOnly={isReadOnly}
        {...described('key')}
        onInput={(event) => onChange({ ...row, key: event.currentTarget.value })}
      />
      <select
        class="input"
        aria-label={`Type of ${name}`}
        value={row.type}
        disabled={isReadOnly}
        onChange={(event) => onChange(withType(row, event.currentTarget.value as AttributeType))}
      >
        {Object.entries(attributeTypes).map(([type, label]) => (
          <option key={type} value={type}>
            {label}
          </option>
        ))}
      </select>
      <div class="attribute-value">
        {row.type === 'number' ? (
          <input {...value} inputMode="decimal" autocomplete="off" onInput={onText} />
        ) : row.type === 'boolean' ? (
          <select {...value} disabled={isReadOnly} value={row.text === 'true' ? 'true' : 'false'} onChange={onText}>
            <option value="true">true</option>
            <option value="false">false</option>
          </select>
        ) : row.type === 'null' ? (
          <span class="attribute-null">null</span>
        ) : (
          // An <input> would drop line breaks.
          <textarea
            {...value}
            rows={1}
            dir={row.type === 'text' ? 'auto' : undefined}
            spellcheck={row.type === 'text'}
            onInput={onText}
            onKeyDown={(event) => {
              if (row.type !== 'text' || !isPlainEnter(event) || row.text.includes('\n')) return;
              // Enter submits a text of one line, as in every other field.
              event.preventDefault();
              event.currentTarget.form?.requestSubmit();
            }}
          />
        )}
      </div>
      {isReadOnly ? null : (
        <button type="button" class="button quiet icon" aria-label={`Remove ${name}`} onClick={onRemove}>
          <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
            <path d="M3.5 8h9" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" />
          </svg>
        </button>
      )}
      {problem === undefined ? null : (
        <p class="error" id={problemId}>
          {problem.message}
        </p>
      )}
    </div>
  );
}

/** Shift+Enter inserts a line break, and input methods use Enter themselves. */
function isPlainEnter({ key, shiftKey, ctrlKey, metaKey, altKey, isComposing }: KeyboardEvent): boolean {
  return key === 'Enter' && !shiftKey && !ctrlKey && !metaKey && !altKey && !isComposing;
}
