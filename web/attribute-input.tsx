/** The input for the value of an attribute, by its type. */
import { type AttributeRow, withText } from './attributes.js';

export interface AttributeInputProps {
  readonly row: AttributeRow;
  readonly label: string;
  /** The ARIA attributes of an invalid value. */
  readonly invalid: { readonly 'aria-invalid'?: boolean; readonly 'aria-describedby'?: string };
  onChange(row: AttributeRow): void;
}

export function AttributeInput({ row, label, invalid, onChange }: AttributeInputProps) {
  const shared = { 'aria-label': label, ...invalid };
  const onInput = (event: { currentTarget: { value: string } }) => onChange(withText(row, event.currentTarget.value));
  switch (row.type) {
    case 'null':
      return <span class="attribute-null">No value</span>;
    case 'boolean': {
      const isYes = row.text === 'true';
      return (
        <label class="yes-no">
          <input
            {...shared}
            type="checkbox"
            checked={isYes}
            onChange={(event) => onChange(withText(row, String(event.currentTarget.checked)))}
          />
          <span aria-hidden="true">{isYes ? 'Yes' : 'No'}</span>
        </label>
      );
    }
    case 'number':
      return (
        <input {...shared} class="input" value={row.text} inputMode="decimal" autocomplete="off" onInput={onInput} />
      );
    case 'date':
      return <input {...shared} class="input" type="date" value={row.text} onInput={onInput} />;
    case 'link':
      return (
        <input
          {...shared}
          class="input"
          // Not type=url: browsers trim what is typed there.
          inputMode="url"
          placeholder="https://"
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          value={row.text}
          onInput={onInput}
        />
      );
    default:
      return <LinesInput {...shared} row={row} onInput={onInput} />;
  }
}

interface LinesInputProps {
  readonly row: AttributeRow;
  onInput(event: { currentTarget: { value: string } }): void;
}

/** A text that may have several lines. An <input> would drop the line breaks. */
function LinesInput({ row: { type, text }, onInput, ...shared }: LinesInputProps) {
  return (
    <textarea
      {...shared}
      class={type === 'json' ? 'input mono' : 'input'}
      rows={1}
      dir={type === 'json' ? undefined : 'auto'}
      spellcheck={type === 'text'}
      placeholder={type === 'list' ? 'One item per line' : undefined}
      value={text}
      onInput={onInput}
      onKeyDown={(event) => {
        if (type !== 'text' || !isPlainEnter(event) || text.includes('\n')) return;
        // Enter submits a text of one line, as in every other field.
        event.preventDefault();
        event.currentTarget.form?.requestSubmit();
      }}
    />
  );
}

/** Shift+Enter inserts a line break, and input methods use Enter themselves. */
export function isPlainEnter({ key, shiftKey, ctrlKey, metaKey, altKey, isComposing }: KeyboardEvent): boolean {
  return key === 'Enter' && !shiftKey && !ctrlKey && !metaKey && !altKey && !isComposing;
}
