/** The list's controls: search words and a filter. */
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Go, Route } from '../address/route.js';
import type { CallError } from '../calls/call-error.js';
import type { Directory } from '../calls/directory.js';
import { useCommands } from '../commands/commands.js';
import { CloseIcon, FilterIcon, SearchIcon } from '../ui/icons.js';
import { lazy, PendingButton, PendingText } from '../ui/lazy.js';

const FilterBar = lazy(
  async () => (await import('../filter/filter-bar.js')).FilterBar,
  ({ failure, retry }) => (
    <div class="line filter-bar">
      <PendingText failure={failure} />
      {failure !== undefined && <PendingButton failure={failure} retry={retry} />}
    </div>
  ),
);

export interface SearchBarProps {
  readonly directory: Directory;
  readonly route: Route;
  readonly go: Go;
  readonly isRequesting: boolean;
  /** Why the server refused the query of the route. */
  readonly queryError: CallError | undefined;
  /** Whether the list shows the result of another query. */
  readonly isOutdated: boolean;
  /** Shown before the search. */
  readonly start: ComponentChildren;
  /** Shown after the button for filters. */
  readonly end: ComponentChildren;
  readonly searchRef: { current: HTMLInputElement | null };
  /** Receives a function that starts a filter by the column with this id. */
  readonly filterRef: { current: ((columnId: string) => void) | undefined };
  /** Called if the user moves from the search to the list, or opens a match with Enter. */
  onChoose(query: string, key: 'ArrowDown' | 'Enter'): void;
  /** Called if the user continues to type, or leaves the search otherwise. */
  onCancel(): void;
  /** Receives the whole text, of which the search holds only the start. */
  onPaste(text: string): void;
}

/** Too short to notice, but long enough to type most of a word. */
const searchAfterMs = 150;

const notStarted = { presses: 0, columnId: '' };

export function SearchBar(props: SearchBarProps) {
  const { directory, route, go, isRequesting, queryError, isOutdated, searchRef, onChoose, onCancel, onPaste } = props;
  /** How often a filter was started since the bar appeared, and the column of the last one; empty for none. */
  const [{ presses, columnId }, setStarted] = useState(notStarted);
  const startFilter = (by: string) => setStarted((before) => ({ presses: before.presses + 1, columnId: by }));
  props.filterRef.current = startFilter;
  const filterButton = useRef<HTMLButtonElement>(null);
  const search = useDraft(route.query, searchAfterMs, (query) => {
    // The first letter adds an entry to the history, and the next ones replace it.
    go({ query }, { replace: route.query !== '' });
  });
  useFilterCommand(() => startFilter(''));

  return (
    <search class="search-bar">
      <PrintHead {...route} />
      <div class="line search-line">
        {props.start}
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
            onPaste={(event) => onPaste(event.clipboardData?.getData('text') ?? '')}
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
          {isRequesting && <span class="spinner" />}
          {search.draft !== '' ? (
            <button
              type="button"
              class="button quiet icon clear"
              aria-label="Clear the search"
              title="Clear the search (Escape)"
              onClick={() => {
                onCancel();
                search.submitNow('');
                searchRef.current?.focus();
              }}
            >
              <CloseIcon />
            </button>
          ) : (
            !isRequesting && (
              <span class="key" title="Press / to search" aria-hidden="true">
                /
              </span>
            )
          )}
        </div>
        <button
          type="button"
          class="button"
          ref={filterButton}
          aria-haspopup="dialog"
          onPointerEnter={() => void FilterBar.preload()}
          onClick={() => startFilter('')}
        >
          <FilterIcon />
          Filter
        </button>
        {props.end}
      </div>
      {(route.filter !== '' || presses > 0) && (
        <FilterBar
          directory={directory}
          filter={route.filter}
          queryError={queryError}
          isOutdated={isOutdated}
          opener={{ button: filterButton.current, presses, columnId }}
          onFilter={(filter) => go({ filter })}
          onEmpty={() => setStarted(notStarted)}
        />
      )}
    </search>
  );
}

/** On paper, it is above the rows, and the filter is below it. */
function PrintHead({ name, query }: Route) {
  return (
    <p class="print-head">
      <bdi>{name === '' ? 'All users' : name}</bdi>
      {query !== '' && (
        <>
          , search: <bdi>{query}</bdi>
        </>
      )}
    </p>
  );
}

/** `run` must not depend on the render. */
function useFilterCommand(run: () => void): void {
  useCommands(
    () => [
      {
        id: 'filter',
        label: 'Filter the list',
        words: 'chips expression where',
        key: 'f',
        icon: FilterIcon,
        run,
      },
    ],
    [],
  );
}

/** A text that is submitted after a pause or with Enter. A new `value` from outside replaces it. */
function useDraft(value: string, afterMs: number, submit: (text: string) => void) {
  const [draft, setDraft] = useState(value);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const submitted = useRef(value);
  const onSubmit = useRef(submit);
  onSubmit.current = submit;
  // An effect that waits for a frame could run after the next key, and take the value of an older submission for a new one.
  useLayoutEffect(() => {
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
