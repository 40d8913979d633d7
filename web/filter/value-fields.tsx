/** The fields in which the values of a chip are entered: suggestions to choose from, a text, numbers, or days. */
import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { CloseIcon } from '../ui/icons.js';
import { type Option, OptionField } from '../ui/listbox.js';
import { offeredValues } from './chip-values.js';
import type { ChipValue } from './filter-chips.js';
import { type FieldKind, valueText } from './filter-fields.js';
import { type SampledValue, sharesText, shareText, type UserSample } from './user-sample.js';

export interface SeveralValuesProps {
  readonly label: string;
  readonly kind: FieldKind;
  readonly values: readonly ChipValue[];
  readonly suggestions: readonly SampledValue[];
  readonly sample: UserSample | undefined;
  /** The text that was typed but not added yet. */
  readonly text: string;
  onText(text: string): void;
  onValues(values: readonly ChipValue[]): void;
  /** Called with the active value of the list. */
  onActive(value: ChipValue | undefined): void;
  /** Applies these values, or those that are selected. */
  onApply(values?: readonly ChipValue[]): void;
}

export function SeveralValues(props: SeveralValuesProps) {
  const { label, kind, values, suggestions, sample, text, onText, onValues, onActive, onApply } = props;
  const counts = new Map(suggestions.map(({ value, count }) => [value, count]));
  const own = values.filter((value) => !counts.has(value));
  const known = new Set([...own, ...(kind === 'boolean' ? [true, false] : []), ...counts.keys()]);
  const { literal, suggested, ...offered } = offeredValues(kind, text, [...known]);
  const shown = literal === undefined ? offered.values : [...offered.values, literal];
  const keyOf = (value: ChipValue) => JSON.stringify(value);
  const valueAt = (key: string | undefined) => shown.find((value) => keyOf(value) === key);
  const optionOf = (value: ChipValue): Option => {
    const count = counts.get(value);
    const name = <bdi>{valueText(value)}</bdi>;
    return {
      key: keyOf(value),
      label: value === literal ? <>“{name}”</> : name,
      isSelected: values.includes(value),
      ...(count === undefined ? {} : { detail: shareText(count, sample) }),
    };
  };
  const toggled = (value: ChipValue) =>
    values.includes(value) ? values.filter((other) => other !== value) : [...values, value];

  return (
    <>
      {values.length > 0 && (
        <ul class="value-tokens" aria-label="Selected values">
          {values.map((value) => (
            <li key={keyOf(value)} class="badge">
              <span class="truncate" dir="auto">
                {valueText(value)}
              </span>
              <button
                type="button"
                class="token-remove"
                aria-label={`Remove ${valueText(value)}`}
                onClick={() => onValues(toggled(value))}
              >
                <CloseIcon />
              </button>
            </li>
          ))}
        </ul>
      )}
      <OptionField
        label={label}
        placeholder={shown.length > 0 ? 'Type or choose values' : 'Type a value'}
        text={text}
        options={shown.map(optionOf)}
        startsAt={suggested === undefined ? -1 : shown.indexOf(suggested)}
        isMultiple
        inputMode={kind === 'number' ? 'decimal' : 'text'}
        onText={onText}
        onActive={(key) => onActive(valueAt(key))}
        onChoose={(key, how) => {
          const chosen = valueAt(key);
          if (chosen === undefined) return;
          onText('');
          if (how === 'toggle') onValues(toggled(chosen));
          else onApply(values.includes(chosen) ? values : [...values, chosen]);
        }}
        onEnter={() => onApply()}
        onBackspace={() => onValues(values.slice(0, -1))}
      />
      {sample !== undefined && counts.size > 0 && <p class="hint shares">{sharesText(sample)}</p>}
    </>
  );
}

export interface TextValueProps {
  readonly label: string;
  readonly kind: FieldKind;
  readonly text: string;
  onText(text: string): void;
  onApply(): void;
}

export function TextValue({ label, kind, text, onText, onApply }: TextValueProps) {
  return (
    <input
      class="input"
      data-focus
      aria-label={label}
      placeholder={kind === 'number' ? 'A number' : 'A text'}
      inputMode={kind === 'number' ? 'decimal' : 'text'}
      dir="auto"
      autocomplete="off"
      autocapitalize="off"
      spellcheck={false}
      value={text}
      onInput={(event) => onText(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key !== 'Enter' || event.isComposing) return;
        event.preventDefault();
        onApply();
      }}
    />
  );
}

export interface DayFieldProps {
  readonly label: string;
  /** `2026-01-31`, or empty. */
  readonly day: string;
  readonly isLabelShown?: boolean;
  onDay(day: string): void;
  onApply(): void;
}

/** Uncontrolled, because a browser reports an incomplete date as an empty one, and would then clear what was typed. */
export function DayField({ label, day, isLabelShown = false, onDay, onApply }: DayFieldProps) {
  const id = useId();
  const field = useRef<HTMLInputElement>(null);
  const [first] = useState(day);
  useLayoutEffect(() => {
    if (field.current !== null && day !== '' && field.current.value !== day) field.current.value = day;
  }, [day]);
  return (
    <div class="field">
      <label for={id} class={isLabelShown ? 'faint' : 'visually-hidden'}>
        {label}
      </label>
      <input
        id={id}
        ref={field}
        class="input"
        data-focus
        type="date"
        defaultValue={first}
        onInput={(event) => onDay(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key !== 'Enter') return;
          event.preventDefault();
          onApply();
        }}
      />
    </div>
  );
}
