/** The top of every view: the name, the number of users, the state of the live feed, and the actions. */
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type Go, metrics, type Route } from './address/route.js';
import type { Caller } from './calls/caller.js';
import type { Session } from './calls/session.js';
import type { FeedState } from './calls/user-feed.js';
import type { Command } from './commands/commands.js';
import type { Total } from './list/user-count.js';
import { formatCount } from './text/format.js';
import { keyText } from './text/key-text.js';
import { MenuIcon, MetricsIcon, PersonIcon, PlusIcon, UsersIcon } from './ui/icons.js';

export interface HeaderProps {
  readonly session: Session;
  readonly route: Route;
  readonly go: Go;
  readonly feedState: FeedState;
  /** Undefined before the first response. */
  readonly total: Total | undefined;
  readonly rows: number;
  readonly isSearch: boolean;
  /** The commands of the menu. */
  readonly commands: readonly Command[];
}

export function Header({ session, route, go, feedState, total, rows, isSearch, commands }: HeaderProps) {
  const { caller } = session;
  const isMetrics = route.view === 'metrics';
  return (
    <header class="header">
      <h1 class="line brand">
        <img src={new URL('./icon.svg', import.meta.url).href} alt="" width="24" height="24" />
        Roster
      </h1>
      <p class="soft numeric truncate total" aria-live="polite" aria-atomic="true">
        {total !== undefined && <TotalText total={total} rows={rows} isSearch={isSearch} />}
      </p>
      {(!session.isKnown || caller.may('listUsers')) && <FeedStatus state={feedState} />}
      <nav class="line views" aria-label="Views">
        <button
          type="button"
          class="button quiet"
          aria-current={isMetrics ? undefined : 'page'}
          onClick={() => go({ view: 'list' })}
        >
          <UsersIcon />
          Users
        </button>
        <button
          type="button"
          class="button quiet"
          aria-current={isMetrics ? 'page' : undefined}
          onClick={() => go(metrics)}
        >
          <MetricsIcon />
          Metrics
        </button>
      </nav>
      <AccountName caller={caller} />
      <Menu commands={commands} head={caller.actor === '' ? undefined : <MenuAccount caller={caller} />} />
      {caller.may('createUser') && (
        <button type="button" class="button primary new-user" onClick={() => go({ user: 'new' })}>
          <PlusIcon />
          <span>New user</span>
        </button>
      )}
    </header>
  );
}

/** The name of the person who is signed in. On a phone it is only in the menu. */
function AccountName({ caller: { actor, name, roles } }: { caller: Caller }) {
  if (actor === '') return null;
  return (
    <p class="soft truncate account" title={`${actor}${roles.length === 0 ? '' : ` (${roles.join(', ')})`}`}>
      <PersonIcon />
      <span class="visually-hidden">Signed in as </span>
      <bdi>{name ?? actor}</bdi>
    </p>
  );
}

function MenuAccount({ caller: { actor, name, roles } }: { caller: Caller }) {
  return (
    <div class="menu-account">
      <strong>
        <bdi>{name ?? actor}</bdi>
      </strong>
      {name === undefined ? null : <bdi class="faint">{actor}</bdi>}
      <span class="faint">{roles.length === 0 ? 'No role' : roles.join(', ')}</span>
    </div>
  );
}

/** On a phone, the style sheet hides the noun. */
function TotalText({ total, rows, isSearch }: { total: Total; rows: number; isSearch: boolean }) {
  if (total.kind === 'counting') return 'Counting…';
  if (total.kind === 'unknown' && rows === 0) return null;
  const count = total.kind === 'exact' ? total.count : rows;
  const noun = isSearch ? (count === 1 ? 'match' : 'matches') : count === 1 ? 'user' : 'users';
  return (
    <>
      {formatCount(count)}
      {total.kind === 'unknown' && '+'}
      <span class="noun"> {noun}</span>
    </>
  );
}

const statusTexts: Readonly<Record<FeedState, { text: string; explanation: string }>> = {
  connecting: { text: 'Connecting', explanation: 'The page connects to the server to receive changes by others.' },
  live: { text: 'Live', explanation: 'Changes by others appear at once.' },
  reconnecting: { text: 'Reconnecting', explanation: 'The connection was lost. The page tries again.' },
  offline: { text: 'Offline', explanation: 'The page receives no changes, and may be out of date.' },
  periodic: { text: 'Every minute', explanation: 'Changes by others appear within a minute.' },
  paused: { text: 'Paused', explanation: 'The page receives changes again when it is visible.' },
};

function FeedStatus({ state }: { state: FeedState }) {
  const { text, explanation } = statusTexts[state];
  return (
    <p class="sign" data-state={state} role="status" title={explanation}>
      <span class="dot" aria-hidden="true" />
      <span class="sign-text">{text}</span>
    </p>
  );
}

/** The wide page has buttons for them. */
const narrowCommands: readonly string[] = ['users', 'metrics'];

interface MenuProps {
  readonly commands: readonly Command[];
  readonly head: ComponentChildren;
}

function Menu({ commands, head }: MenuProps) {
  const [isOpen, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  const options = () => [...(box.current?.querySelectorAll<HTMLElement>('[role=menuitem]') ?? [])];
  const close = (how?: 'back') => {
    setOpen(false);
    if (how === 'back') opener.current?.focus();
  };
  // If it waited for a frame, it could move the focus into a menu that is closing.
  useLayoutEffect(() => {
    if (!isOpen) return;
    options()
      .find((option) => option.offsetParent !== null)
      ?.focus();
    const onDown = (event: PointerEvent) => {
      if (event.target instanceof Node && !box.current?.contains(event.target)) close();
    };
    document.addEventListener('pointerdown', onDown);
    return () => document.removeEventListener('pointerdown', onDown);
  }, [isOpen]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (!isOpen) return;
    const shown = options().filter((option) => option.offsetParent !== null);
    const at = shown.findIndex((option) => option.matches(':focus'));
    if (event.key === 'Escape') close('back');
    else if (event.key === 'Tab') return close();
    else if (event.key === 'ArrowDown') shown[(at + 1) % shown.length]?.focus();
    else if (event.key === 'ArrowUp') shown.at(at - 1)?.focus();
    else if (event.key === 'Home') shown[0]?.focus();
    else if (event.key === 'End') shown.at(-1)?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: handles the keys of its menu.
    <div class="menu-box" ref={box} onKeyDown={onKeyDown}>
      <button
        ref={opener}
        type="button"
        class="button quiet icon"
        aria-label="More"
        aria-haspopup="menu"
        aria-expanded={isOpen}
        onClick={() => setOpen(!isOpen)}
      >
        <MenuIcon />
      </button>
      {isOpen && (
        <div class="menu">
          {head}
          <div role="menu" aria-label="More">
            {commands.map(({ id, label, key, icon: Icon, run }) => (
              <button
                key={id}
                type="button"
                role="menuitem"
                tabIndex={-1}
                class={narrowCommands.includes(id) ? 'is-narrow' : ''}
                onClick={() => {
                  close('back');
                  run();
                }}
              >
                {Icon !== undefined && <Icon />}
                {label}
                {key !== undefined && (
                  <span class="key" aria-hidden="true">
                    {keyText(key)}
                  </span>
                )}
              </button>
            ))}
          </div>
        </div>
      )}
    </div>
  );
}
