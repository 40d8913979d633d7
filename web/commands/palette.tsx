/**
 * The command palette: a field that finds commands and users, and runs or opens the chosen one. The field keeps the
 * focus, as in the combobox of the ARIA Authoring Practices.
 */
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Directory } from '../calls/directory.js';
import { foldText } from '../text/fold-text.js';
import { formatCount } from '../text/format.js';
import { keyText } from '../text/key-text.js';
import { Avatar } from '../ui/avatar.js';
import { SearchIcon } from '../ui/icons.js';
import { type Command, commandsNow } from './commands.js';
import { type FoundPeople, usePeople } from './palette-people.js';

export interface PaletteProps {
  readonly directory: Directory;
  onClose(): void;
  onOpenUser(id: string): void;
  /** Searches the list for these words. */
  onSearch(query: string): void;
  /** Searches the attributes for these words. */
  onSearchAttributes(query: string): void;
}

interface Option {
  readonly id: string;
  readonly content: ComponentChildren;
  run(): void;
}

interface Group {
  readonly title: string;
  readonly options: readonly Option[];
}

const listId = 'palette-list';

export function Palette({ directory, onClose, onOpenUser, onSearch, onSearchAttributes }: PaletteProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState('');
  const [chosen, setChosen] = useState('');
  const query = text.trim();
  const mayList = directory.may('listUsers');
  const found = usePeople(directory, mayList ? query : '');
  // Nobody has the words in the name or the email, so the search would find nobody either.
  const attributes = found.foundNobody ? [searchOption('Search attributes for', query, onSearchAttributes)] : [];
  const searchOptions =
    query !== '' && mayList ? [...attributes, searchOption('Search the list for', query, onSearch)] : [];
  const groups = [
    // The open user and the selected ones come first, because they are what the person is working on.
    { title: 'User', options: commandOptions(query, 'User') },
    { title: 'Selection', options: commandOptions(query, 'Selection') },
    { title: 'Commands', options: commandOptions(query, undefined) },
    { title: 'Views', options: commandOptions(query, 'Views') },
    { title: 'Users', options: peopleOptions(found, onOpenUser) },
    { title: 'Search', options: searchOptions },
  ].filter(({ options }) => options.length > 0);
  const options = groups.flatMap((group) => group.options);
  const active = options.find(({ id }) => id === chosen) ?? options[0];

  useLayoutEffect(() => {
    dialog.current?.showModal();
    return () => dialog.current?.close();
  }, []);
  useLayoutEffect(() => {
    document.getElementById(active?.id ?? '')?.scrollIntoView({ block: 'nearest' });
  }, [active?.id]);

  const run = (option: Option | undefined) => {
    if (option === undefined) return;
    // Elements outside of an open dialog cannot take the focus.
    dialog.current?.close();
    onClose();
    option.run();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.isComposing) return;
    const move = (by: number) => {
      const at = options.findIndex(({ id }) => id === active?.id);
      setChosen(options.at((at + by) % Math.max(1, options.length))?.id ?? '');
    };
    const isToggle = event.key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey);
    if (event.key === 'Escape' || isToggle) onClose();
    else if (event.key === 'ArrowDown') move(1);
    else if (event.key === 'ArrowUp') move(-1);
    else if (event.key === 'Enter') run(active);
    else return;
    event.preventDefault();
  };

  return (
    <dialog
      ref={dialog}
      class="palette"
      aria-label="Commands"
      onKeyDown={onKeyDown}
      // Outside of the frame, the target is the dialog itself, because its children cover the inside.
      onPointerDown={(event) => event.target === event.currentTarget && onClose()}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <div class="palette-field">
        <SearchIcon />
        <input
          type="text"
          role="combobox"
          aria-label="Find a command or a user"
          placeholder={mayList ? 'Find a command or a user' : 'Find a command'}
          aria-expanded={options.length > 0}
          aria-controls={options.length > 0 ? listId : undefined}
          aria-activedescendant={active?.id}
          aria-autocomplete="list"
          dir="auto"
          maxLength={256}
          autocomplete="off"
          spellcheck={false}
          value={text}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setChosen('');
          }}
        />
        {found.isSearching && <span class="spinner" />}
      </div>
      {options.length > 0 && <OptionList groups={groups} activeId={active?.id} onPoint={setChosen} onRun={run} />}
      <Note found={found} isEmpty={options.length === 0} />
    </dialog>
  );
}

interface OptionListProps {
  readonly groups: readonly Group[];
  readonly activeId: string | undefined;
  onPoint(id: string): void;
  onRun(option: Option): void;
}

function OptionList({ groups, activeId, onPoint, onRun }: OptionListProps) {
  return (
    <div class="palette-list" role="listbox" id={listId} aria-label="Commands and users">
      {groups.map(({ title, options }) => (
        <fieldset key={title} aria-label={title}>
          <div class="palette-title" aria-hidden="true">
            {title}
          </div>
          {options.map((option) => (
            <button
              key={option.id}
              id={option.id}
              type="button"
              role="option"
              tabIndex={-1}
              aria-selected={option.id === activeId}
              onPointerMove={() => onPoint(option.id)}
              // The field keeps the focus.
              onPointerDown={(event) => event.preventDefault()}
              onClick={() => onRun(option)}
            >
              {option.content}
            </button>
          ))}
        </fieldset>
      ))}
    </div>
  );
}

function Note({ found, isEmpty }: { found: FoundPeople; isEmpty: boolean }) {
  const { problem, isSearching, people } = found;
  const text = problem !== '' ? `Cannot search for users. ${problem}` : isEmpty ? 'No command has this name.' : '';
  return (
    <>
      {text !== '' && <p class={`palette-note ${problem === '' ? 'soft' : 'error'}`}>{text}</p>}
      <p class="visually-hidden" role="status">
        {isSearching
          ? ''
          : people.length === 1
            ? '1 user'
            : people.length > 1
              ? `${formatCount(people.length)} users`
              : text}
      </p>
    </>
  );
}

/** The commands of a group that have all words of the query. */
function commandOptions(query: string, wanted: Command['group']): Option[] {
  const words = foldText(query).split(/\s+/);
  const hasWords = (text: string) => {
    const texts = foldText(text).split(' ');
    return words.every((word) => texts.some((part) => part.startsWith(word)));
  };
  const found = commandsNow().filter(
    ({ label, words: more = '', group }) => group === wanted && hasWords(`${label} ${more}`),
  );
  // Those with the words in their names first.
  return [...found.filter(({ label }) => hasWords(label)), ...found.filter(({ label }) => !hasWords(label))].map(
    ({ id, label, key, icon: Icon, run }) => ({
      id: `command-${id}`,
      content: (
        <>
          <span class="palette-sign">{Icon !== undefined && <Icon />}</span>
          <span class="grow truncate">
            <bdi>{label}</bdi>
          </span>
          {key !== undefined && <kbd class="key">{keyText(key)}</kbd>}
        </>
      ),
      run,
    }),
  );
}

function peopleOptions({ people }: FoundPeople, onOpenUser: (id: string) => void): Option[] {
  return people.map((user) => ({
    id: `person-${user.id}`,
    content: (
      <>
        <Avatar user={user} />
        <bdi class="truncate">{user.displayName}</bdi>
        <span class="grow truncate soft">{user.email}</span>
      </>
    ),
    run: () => onOpenUser(user.id),
  }));
}

function searchOption(label: string, query: string, onSearch: (query: string) => void): Option {
  return {
    id: `palette-${label.replaceAll(' ', '-')}`,
    content: (
      <>
        <span class="palette-sign">
          <SearchIcon />
        </span>
        <span class="grow truncate">
          {label} <bdi>“{query}”</bdi>
        </span>
      </>
    ),
    run: () => onSearch(query),
  };
}
