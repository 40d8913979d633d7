/** The list's controls: search words, a filter that marks the position of its error, and on a phone the order. */
import { Fragment } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { filterFields } from '../src/fields.js';
import type { CallError } from './call-error.js';
import { CloseIcon, FilterIcon, SearchIcon } from './icons.js';
import type { Go, Route } from './route.js';

export interface SearchBarProps {
  readonly route: Route;
  readonly go: Go;
  readonly isRequesting: boolean;
  /** Why the server rejected the last query. */
  readonly queryError: CallError | undefined;
  readonly searchRef: { current: HTMLInputElement | null };
  /** Called if the user moves from the search to the list, or opens a match with Enter. */
  onChoose(query: string, key: 'ArrowDown' | 'Enter'): void;
  /** Called if the user continues to type, or leaves the search otherwise. */
  onCancel(): void;
}

/** Too short to notice, but long enough to type most of a word. */
const searchAfterMs = 150;
/** Longer, because an incomplete filter is usually invalid. */
const filterAfterMs = 600;

const orders = [
  ['create_time desc', 'Newest first'],
  ['create_time', 'Oldest first'],
  ['update_time desc', 'Newest update first'],
  ['update_time', 'Oldest update first'],
  ['last_name', 'Last name A–Z'],
  ['last_name desc', 'Last name Z–A'],
  ['first_name', 'First name A–Z'],
  ['first_name desc', 'First name Z–A'],
  ['email', 'Email A–Z'],
  ['email desc', 'Email Z–A'],
] as const;

export function SearchBar({ route, go, isRequesting, queryError, searchRef, onChoose, onCancel }: SearchBarProps) {
  const [isOpen, setOpen] = useState(route.filter !== '');
  // The back button may restore a filter.
  useEffect(() => {
    if (route.filter !== '') setOpen(true);
  }, [route.filter]);
  const search = useDraft(route.query, searchAfterMs, (query) => {
    // The first letter adds an entry to the history, and the next ones replace it.
    go({ query }, { replace: route.query !== '' });
  });
  const filter = useDraft(route.filter, filterAfterMs, (text) => go({ filter: text }));
  const filterField = useRef<HTMLInputElement>(null);

  return (
    <search class="search-bar">
      <div class="line search-line">
        <div class="search-field grow">
          <SearchIcon />
          <input
            ref={searchRef}
            class="input"
            type="search"
            aria-label="Search by name or email"
            placeholder="Search by name or email"
            dir="auto"
            maxLength={256}
            autocomplete="off"
            spellcheck={false}
            value={search.draft}
            onInput={(event) => {
              search.write(event.currentTarget.value);
              onCancel();
            }}
            onBlur={onCancel}
            onKeyDown={(event) => {
              // Input methods use Enter and arrows themselves.
              if (event.isComposing) return;
              if (event.key === 'ArrowDown' || event.key === 'Enter') {
                search.submitNow(event.currentTarget.value);
                onChoose(event.currentTarget.value, event.key);
              } else if (event.key === 'Escape') {
                onCancel();
                if (search.draft === '') event.currentTarget.blur();
                else search.submitNow('');
              } else return;
              event.preventDefault();
            }}
          />
          {isRequesting ? (
            <span class="spinner" />
          ) : (
            <span class="key" title="Press / to search" aria-hidden="true">
              /
            </span>
          )}
        </div>
        <button
          type="button"
          class="button"
          aria-expanded={isOpen}
          aria-controls="filter"
          onClick={() => {
            setOpen(!isOpen);
            if (isOpen) filter.submitNow('');
            else requestAnimationFrame(() => filterField.current?.focus());
          }}
        >
          <FilterIcon />
          Filter
        </button>
        <label class="order">
          <span class="visually-hidden">Order</span>
          <select class="input" value={route.orderBy} onChange={(event) => go({ orderBy: event.currentTarget.value })}>
            {orders.map(([value, label]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </select>
        </label>
      </div>
      {isOpen && (
        <FilterField
          inputRef={filterField}
          draft={filter.draft}
          onWrite={filter.write}
          onEnter={filter.submitNow}
          // The error concerns the filter that was sent, not a newer draft.
          mistake={filter.draft === route.filter ? mistakeOf(queryError) : undefined}
        />
      )}
    </search>
  );
}

interface FilterFieldProps {
  readonly inputRef: { current: HTMLInputElement | null };
  readonly draft: string;
  readonly mistake: Mistake | undefined;
  onWrite(text: string): void;
  onEnter(text: string): void;
}

function FilterField({ inputRef, draft, mistake, onWrite, onEnter }: FilterFieldProps) {
  const mark = useRef<HTMLDivElement>(null);
  // Keeps the mark under its character if a long filter is scrolled in its field.
  const follow = () => {
    const { scrollLeft = 0 } = inputRef.current ?? {};
    if (mark.current !== null) mark.current.style.transform = `translateX(${-scrollLeft}px)`;
  };
  useEffect(follow);
  return (
    <div class="field filter-field" id="filter">
      <label for="filter-text" class="visually-hidden">
        Filter
      </label>
      <div class="filter-box">
        <input
          id="filter-text"
          ref={inputRef}
          class="input mono"
          placeholder={'last_name == "Lovelace" && attributes.department == "ops"'}
          maxLength={2048}
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          value={draft}
          aria-invalid={mistake !== undefined}
          aria-describedby={mistake === undefined ? 'filter-hint' : 'filter-mistake'}
          onInput={(event) => onWrite(event.currentTarget.value)}
          onScroll={follow}
          onKeyDown={(event) => {
            if (event.isComposing) return;
            if (event.key === 'Enter') onEnter(event.currentTarget.value);
            else if (event.key === 'Escape') onEnter('');
            else return;
            event.preventDefault();
          }}
        />
        {draft !== '' && (
          <button type="button" class="button quiet icon" aria-label="Clear the filter" onClick={() => onEnter('')}>
            <CloseIcon />
          </button>
        )}
      </div>
      {mistake?.character !== undefined && (
        <div class="filter-mark mono" aria-hidden="true">
          <div ref={mark}>
            <span class="ghost">{[...draft].slice(0, mistake.character - 1).join('')}</span>
            <span class="caret">▲</span>
          </div>
        </div>
      )}
      {mistake === undefined ? (
        <p class="hint" id="filter-hint">
          Compare{' '}
          {Object.keys(filterFields).map((field) => (
            <Fragment key={field}>
              <code>{field}</code>,{' '}
            </Fragment>
          ))}
          or <code>attributes.KEY</code>; also <code>contains</code>, <code>startsWith</code>, <code>in [..]</code>,{' '}
          <code>has()</code>.
        </p>
      ) : (
        <p class="error" id="filter-mistake" role="alert">
          {mistake.text}
        </p>
      )}
    </div>
  );
}

interface Mistake {
  readonly text: string;
  /** Counted from 1 in Unicode code points. */
  readonly character: number | undefined;
}

/** Reads the position of the error from the server's text. */
function mistakeOf(queryError: CallError | undefined): Mistake | undefined {
  const violation = queryError?.violations.find(({ field }) => field === 'filter');
  if (violation === undefined) return undefined;
  const { description } = violation;
  const [, character] = /at character (\d+)/.exec(description) ?? [];
  return { text: `The filter ${description}.`, character: character === undefined ? undefined : Number(character) };
}

/** A text that is submitted after a pause or with Enter. A new `value` from outside replaces it. */
function useDraft(value: string, afterMs: number, submit: (text: string) => void) {
  const [draft, setDraft] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const submitted = useRef(value);
  const onSubmit = useRef(submit);
  onSubmit.current = submit;
  useEffect(() => {
    if (value === submitted.current) return;
    submitted.current = value;
    clearTimeout(timer.current);
    setDraft(value);
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const submitNow = (text: string) => {
    clearTimeout(timer.current);
    setDraft(text);
    if (text === submitted.current) return;
    submitted.current = text;
    onSubmit.current(text);
  };
  const write = (text: string) => {
    setDraft(text);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => submitNow(text), afterMs);
  };
  return { draft, write, submitNow };
}
