/**
 * A text that may have several lines. If there are values to suggest, it is a field of one line with a list below it, as in
 * the APG's pattern "combobox". The typed text stays, unless the user chooses a value with the arrow keys or a click.
 */
import type { ComponentChildren, RefObject } from 'preact';
import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { offeredValues } from '../filter/chip-values.js';
import { OptionRow } from '../ui/listbox.js';

export interface SuggestedTextProps {
  readonly 'aria-label': string;
  readonly 'aria-invalid'?: boolean;
  readonly 'aria-describedby'?: string;
  readonly text: string;
  readonly suggestions: readonly string[];
  onText(text: string): void;
}

/** A longer text needs several lines to be seen. */
const lineMax = 80;

export function SuggestedText({ text, suggestions, onText, ...shared }: SuggestedTextProps) {
  const root = useRef<HTMLDivElement>(null);
  const [, redraw] = useState(0);
  const isLine = useRef(false);
  /** Where to continue after the field was replaced by one of several lines. */
  const caret = useRef<number | undefined>(undefined);
  const isFocused = root.current?.contains(document.activeElement) === true;
  // Another field would interrupt what somebody types. A line break needs one.
  if (text.includes('\n')) isLine.current = false;
  else if (!isFocused || text === '') isLine.current = suggestions.length > 0 && text.length <= lineMax;
  useLayoutEffect(() => {
    if (!isFocused) return;
    const field = root.current?.querySelector<HTMLInputElement | HTMLTextAreaElement>('input, textarea');
    field?.focus();
    if (caret.current !== undefined) field?.setSelectionRange(caret.current, caret.current);
  }, [isLine.current]);
  return (
    <div ref={root} onFocusOut={() => redraw((count) => count + 1)}>
      {isLine.current ? (
        <Combobox
          {...shared}
          text={text}
          suggestions={suggestions}
          onText={onText}
          onLines={(lines, at) => {
            caret.current = at;
            onText(lines);
          }}
        />
      ) : (
        <textarea
          {...shared}
          class="input"
          rows={1}
          dir="auto"
          spellcheck
          value={text}
          onInput={(event) => onText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (!isPlainEnter(event) || text.includes('\n')) return;
            // Enter submits a text of one line, as in every other field.
            event.preventDefault();
            event.currentTarget.form?.requestSubmit();
          }}
        />
      )}
    </div>
  );
}

interface ComboboxProps extends SuggestedTextProps {
  /** Called with a text of several lines, and the place of the caret in it. */
  onLines(text: string, caret: number): void;
}

function Combobox({ text, suggestions, onText, onLines, ...shared }: ComboboxProps) {
  const listId = useId();
  const field = useRef<HTMLInputElement>(null);
  /** The text that was typed since the list opened; undefined while the list is closed. */
  const [typed, setTyped] = useState<string>();
  /** The value that the arrow keys have reached; -1 is the typed text. */
  const [at, setAt] = useState(-1);
  const found = typed === undefined ? [] : offeredValues('text', typed, suggestions).values.map(String);
  const values = found.length === 1 && found[0] === text ? [] : found;
  const isOpen = values.length > 0;
  const optionId = (index: number) => `${listId}-${index}`;

  const show = (shown: string | undefined, active = -1) => {
    setTyped(shown);
    setAt(active);
  };
  const choose = (value: string) => {
    onText(value);
    show(undefined);
  };
  const insert = (inserted: string) => {
    const { selectionStart, selectionEnd } = field.current ?? {};
    const [start, end] = [selectionStart ?? text.length, selectionEnd ?? text.length];
    onLines(`${text.slice(0, start)}${inserted}${text.slice(end)}`, start + inserted.length);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const { key, shiftKey } = event;
    if (event.isComposing || event.ctrlKey || event.metaKey) return;
    const active = values[at];
    if (key === 'Enter' && shiftKey) insert('\n');
    else if (key === 'Enter' && active !== undefined) choose(active);
    else if (key === 'Escape' && isOpen) show(undefined);
    else if (key === 'ArrowDown' && !shiftKey) show(isOpen ? typed : '', isOpen ? nextOf(at, values.length) : 0);
    else if (key === 'ArrowUp' && isOpen && !shiftKey) show(typed, previousOf(at, values.length));
    else {
      // The form gets the key, with the text as it was typed.
      if (key === 'Enter') show(undefined);
      return;
    }
    event.preventDefault();
  };

  return (
    <>
      <input
        {...shared}
        ref={field}
        class="input"
        role="combobox"
        aria-expanded={isOpen}
        aria-controls={isOpen ? listId : undefined}
        aria-autocomplete="list"
        aria-activedescendant={at >= 0 && isOpen ? optionId(at) : undefined}
        autocomplete="off"
        dir="auto"
        spellcheck
        value={text}
        onInput={({ currentTarget: { value } }) => {
          onText(value);
          show(value);
        }}
        onClick={() => show(isOpen ? undefined : '')}
        onBlur={() => show(undefined)}
        onKeyDown={onKeyDown}
        onPaste={(event) => {
          const pasted = (event.clipboardData?.getData('text/plain') ?? '').replaceAll(/\r\n?/g, '\n').trimEnd();
          // The field would remove the line breaks.
          if (!pasted.includes('\n')) return;
          event.preventDefault();
          insert(pasted);
        }}
      />
      {isOpen && (
        <Suggestions id={listId} field={field} activeId={at >= 0 ? optionId(at) : undefined}>
          {values.map((value, index) => (
            <OptionRow
              key={value}
              id={optionId(index)}
              option={{ key: value, label: <bdi>{value}</bdi> }}
              isMultiple={false}
              isActive={index === at}
              heading={undefined}
              onChoose={() => choose(value)}
            />
          ))}
        </Suggestions>
      )}
    </>
  );
}

/** After the last value comes the typed text, and then the first value. */
function nextOf(at: number, count: number): number {
  return at + 1 < count ? at + 1 : -1;
}

function previousOf(at: number, count: number): number {
  return at >= 0 ? at - 1 : count - 1;
}

interface SuggestionsProps {
  readonly id: string;
  readonly field: RefObject<HTMLElement | null>;
  /** The id of the active option. */
  readonly activeId: string | undefined;
  readonly children: ComponentChildren;
}

const gapPx = 4;
const edgePx = 8;
const heightMaxPx = 264;
const widthMaxPx = 360;

/** The list, above everything else, because the panel and the dialog would cut it off. */
function Suggestions({ id, field, activeId, children }: SuggestionsProps) {
  const list = useRef<HTMLDivElement>(null);
  const place = () => {
    if (list.current === null || field.current === null) return;
    const { style } = list.current;
    const { left, top, bottom, width } = field.current.getBoundingClientRect();
    const { clientWidth: pageWidth, clientHeight: pageHeight } = document.documentElement;
    // The keyboard of a phone covers a part of the page.
    const { height = pageHeight, offsetTop = 0 } = window.visualViewport ?? {};
    const below = offsetTop + height - bottom - gapPx - edgePx;
    const above = top - offsetTop - gapPx - edgePx;
    const isBelow = below >= Math.min(heightMaxPx, list.current.scrollHeight) || below >= above;
    style.left = `${left}px`;
    style.minWidth = `${width}px`;
    style.maxWidth = `${Math.max(width, Math.min(widthMaxPx, pageWidth - left - edgePx))}px`;
    style.maxHeight = `${Math.min(heightMaxPx, isBelow ? below : above)}px`;
    style.top = isBelow ? `${bottom + gapPx}px` : 'auto';
    style.bottom = isBelow ? 'auto' : `${pageHeight - top + gapPx}px`;
  };
  useLayoutEffect(() => {
    list.current?.showPopover();
    const events = new AbortController();
    const options = { signal: events.signal, capture: true, passive: true };
    window.addEventListener('scroll', place, options);
    window.addEventListener('resize', place, options);
    window.visualViewport?.addEventListener('resize', place, options);
    window.visualViewport?.addEventListener('scroll', place, options);
    return () => events.abort();
  }, []);
  // The number of values may have changed.
  useLayoutEffect(place);
  useLayoutEffect(() => {
    if (activeId !== undefined) document.getElementById(activeId)?.scrollIntoView({ block: 'nearest' });
  }, [activeId]);
  return (
    <div
      ref={list}
      popover="manual"
      class="popup suggestions"
      role="listbox"
      id={id}
      aria-label="Suggestions"
      // The field keeps the focus.
      onPointerDown={(event) => event.preventDefault()}
    >
      {children}
    </div>
  );
}

/** Shift+Enter inserts a line break, and input methods use Enter themselves. */
export function isPlainEnter({ key, shiftKey, ctrlKey, metaKey, altKey, isComposing }: KeyboardEvent): boolean {
  return key === 'Enter' && !shiftKey && !ctrlKey && !metaKey && !altKey && !isComposing;
}
