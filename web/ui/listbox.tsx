/**
 * A text field with a list of options under it, as in the APG's pattern "combobox". The focus stays in the field. The arrow
 * keys choose the active option.
 */
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useLayoutEffect, useState } from 'preact/hooks';

export interface Option {
  readonly key: string;
  readonly label: ComponentChildren;
  /** For example how many users have it. */
  readonly detail?: string;
  /** In a list from which several options can be selected. */
  readonly isSelected?: boolean;
  readonly group?: string;
}

export interface OptionFieldProps {
  readonly label: string;
  readonly placeholder?: string;
  readonly text: string;
  readonly options: readonly Option[];
  readonly isMultiple?: boolean;
  /** The option that is active before an arrow key was pressed. */
  readonly startsAt?: number | undefined;
  /** Shown if there are no options. */
  readonly emptyText?: string;
  readonly inputMode?: 'text' | 'decimal';
  onText(text: string): void;
  /** `how` is `toggle` after a click or a space in a list with several selections. */
  onChoose(key: string, how: 'enter' | 'toggle'): void;
  /** Called when another option, or none, becomes active. */
  onActive?(key: string | undefined): void;
  /** Enter without an active option. */
  onEnter?(): void;
  /** Backspace in an empty field. */
  onBackspace?(): void;
}

export function OptionField(props: OptionFieldProps) {
  const { label, placeholder, text, options, isMultiple = false, startsAt = -1, emptyText, inputMode } = props;
  const id = useId();
  /** Undefined before an arrow key was pressed. */
  const [moved, setMoved] = useState<number>();
  // Before the next key, which may be an arrow.
  useLayoutEffect(() => setMoved(undefined), [text]);
  const at = Math.min(moved ?? startsAt, options.length - 1);
  const activeKey = options[at]?.key;
  useLayoutEffect(() => props.onActive?.(activeKey), [activeKey]);
  const optionId = (index: number) => `${id}-${index}`;
  useEffect(() => {
    document.getElementById(optionId(at))?.scrollIntoView({ block: 'nearest' });
  }, [at]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.isComposing || event.ctrlKey || event.metaKey) return;
    const option = options[at];
    // The first arrow takes the suggestion, so that a space then selects it instead of belonging to the text.
    const takesSuggestion = isMultiple && moved === undefined && option !== undefined;
    if (event.key === 'ArrowDown' && takesSuggestion) setMoved(at);
    else if (event.key === 'ArrowDown') setMoved(at + 1 < options.length ? at + 1 : 0);
    else if (event.key === 'ArrowUp') setMoved(at > 0 ? at - 1 : options.length - 1);
    else if (event.key === 'Enter' && option !== undefined) props.onChoose(option.key, 'enter');
    else if (event.key === 'Enter') props.onEnter?.();
    // Otherwise a space belongs to the text.
    else if (event.key === ' ' && isMultiple && moved !== undefined && option !== undefined)
      props.onChoose(option.key, 'toggle');
    else {
      if (event.key === 'Backspace' && text === '') props.onBackspace?.();
      return;
    }
    event.preventDefault();
  };

  return (
    <div class="option-field">
      <input
        class="input"
        data-focus
        role="combobox"
        aria-label={label}
        aria-expanded={options.length > 0}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={at >= 0 ? optionId(at) : undefined}
        placeholder={placeholder}
        inputMode={inputMode}
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        dir="auto"
        value={text}
        onInput={(event) => props.onText(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      <div class="options" role="listbox" id={`${id}-list`} aria-label={label} aria-multiselectable={isMultiple}>
        {options.map((option, index) => (
          <OptionRow
            key={option.key}
            id={optionId(index)}
            option={option}
            isMultiple={isMultiple}
            isActive={index === at}
            isMoved={moved !== undefined}
            heading={option.group === options[index - 1]?.group ? undefined : option.group}
            onChoose={() => props.onChoose(option.key, isMultiple ? 'toggle' : 'enter')}
          />
        ))}
      </div>
      {options.length === 0 && emptyText !== undefined && <p class="hint">{emptyText}</p>}
    </div>
  );
}

interface OptionRowProps {
  readonly id: string;
  readonly option: Option;
  readonly isMultiple: boolean;
  readonly isActive: boolean;
  /** Whether an arrow key has chosen the active option. */
  readonly isMoved?: boolean;
  readonly heading: string | undefined;
  onChoose(): void;
}

export function OptionRow({ id, option, isMultiple, isActive, isMoved = false, heading, onChoose }: OptionRowProps) {
  return (
    <>
      {heading !== undefined && (
        <div class="options-heading" role="presentation">
          {heading}
        </div>
      )}
      <div
        id={id}
        class="option"
        role="option"
        aria-selected={isMultiple ? option.isSelected === true : isActive}
        data-active={isActive ? (isMoved ? 'moved' : '') : undefined}
        // The field keeps the focus.
        onPointerDown={(event) => event.preventDefault()}
        onClick={onChoose}
      >
        {isMultiple && <span class="option-check" aria-hidden="true" />}
        <span class="truncate grow">{option.label}</span>
        {option.detail !== undefined && <span class="faint">{option.detail}</span>}
      </div>
    </>
  );
}
