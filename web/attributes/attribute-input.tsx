/** The input for the value of an attribute, by its type. */
import { type AttributeRow, isUnset, withText } from '../users/attributes.js';
import { SuggestedText } from './suggested-text.js';

export interface AttributeInputProps {
  readonly row: AttributeRow;
  readonly label: string;
  /** Values to offer for a text. */
  readonly suggestions: readonly string[];
  /** The ARIA attributes of an invalid value, and of a described one. */
  readonly invalid: { readonly 'aria-invalid'?: boolean; readonly 'aria-describedby'?: string };
  onChange(row: AttributeRow): void;
}

export function AttributeInput({ row, label, suggestions, invalid, onChange }: AttributeInputProps) {
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
            indeterminate={isUnset(row)}
            onChange={(event) => onChange(withText(row, String(event.currentTarget.checked)))}
          />
          <span aria-hidden="true">{isYes ? 'Yes' : isUnset(row) ? 'Not set' : 'No'}</span>
        </label>
      );
    }
    case 'number':
      return (
        <input {...shared} class="input" value={row.text} inputMode="decimal" autocomplete="off" onInput={onInput} />
      );
    case 'date': {
      // Browsers send no input event for a part of a date. The next field may have the focus before the key is released.
      const onPart = ({ currentTarget: { validity } }: { currentTarget: HTMLInputElement }) => {
        const isIncomplete = validity.badInput;
        if (isIncomplete !== (row.isIncomplete ?? false)) onChange({ ...row, isIncomplete });
      };
      return (
        <input
          {...shared}
          class="input"
          type="date"
          value={row.text}
          onInput={onInput}
          onKeyUp={onPart}
          onBlur={onPart}
        />
      );
    }
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
    case 'text':
      return (
        <SuggestedText
          {...shared}
          text={row.text}
          suggestions={suggestions}
          onText={(text) => onChange(withText(row, text))}
        />
      );
    default:
      return (
        <textarea
          {...shared}
          class={row.type === 'json' ? 'input mono' : 'input'}
          rows={1}
          dir={row.type === 'json' ? undefined : 'auto'}
          spellcheck={false}
          placeholder={row.type === 'list' ? 'One item per line' : undefined}
          value={row.text}
          onInput={onInput}
        />
      );
  }
}
