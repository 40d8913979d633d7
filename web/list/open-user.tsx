/** The panel of the user in the URL. Shows changes to the user that the feed delivers while it is open. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import type { User, UserChange } from '../../generated/users/v1/user.js';
import { usePageTitle } from '../address/page-title.js';
import { type Go, readRoute } from '../address/route.js';
import type { Directory } from '../calls/directory.js';
import { describeFailure, readUser } from '../calls/save-user.js';
import { filteredValues } from '../filter/filtered-values.js';
import { Panel } from '../ui/panel.js';
import type { Draft } from '../user/user-form.js';
import { type LeaveGuard, UserPanel, type UserPanelProps } from '../user/user-panel.js';
import type { Place } from '../user/user-panel-buttons.js';
import type { JsonObject } from '../users/user-fields.js';
import { createOwnChanges } from './own-changes.js';
import type { UserList } from './user-list.js';

/** Called with every change, and with an empty list if changes may have been missed. */
export type ChangeListeners = Set<(changes: readonly UserChange[]) => void>;

export interface OpenUserProps {
  readonly directory: Directory;
  readonly list: UserList;
  /** `new` to create a user. */
  readonly id: string;
  /** Whether the list is beside the panel. */
  readonly isInList: boolean;
  readonly changeListeners: ChangeListeners;
  /** Whether the feed delivers changes. */
  readonly isLive: boolean;
  readonly leaveGuard: LeaveGuard;
  readonly go: Go;
  /** The same, but without a question about edits. */
  readonly goNow: Go;
  onClose(): void;
}

export function OpenUser(props: OpenUserProps) {
  const { directory, list, id, isInList, changeListeners, isLive, leaveGuard, go, goNow, onClose } = props;
  /** The user that this page has created last, which the list may not contain. */
  const [created, setCreated] = useState<User>();
  /** The edits of a deleted user, for the next form of a new user. */
  const [draft, setDraft] = useState<Draft>();
  useEffect(() => {
    if (id !== 'new') setDraft(undefined);
  }, [id]);
  const own = useMemo(
    () =>
      createOwnChanges(directory, list, () => {
        for (const onChanges of changeListeners) onChanges([]);
      }),
    [directory, list, changeListeners],
  );
  // If another user has been opened before the response arrives, that one stays open.
  const isOpen = (other: string) => readRoute(location.hash).user === other;
  return (
    <OneUser
      key={id}
      directory={directory}
      id={id}
      known={list.userAt(list.rowOf(id)) ?? (created?.id === id ? created : undefined)}
      draft={draft}
      attributes={isInList && draft === undefined ? newAttributes(list) : undefined}
      changeListeners={changeListeners}
      isLive={isLive}
      place={isInList ? placeOf(list, id, go) : undefined}
      leaveGuard={leaveGuard}
      isOpenAt={(hash) => readRoute(hash).user === id}
      onClose={onClose}
      onSaved={(user, before) => {
        if (before !== undefined) return own.updated(user, before);
        own.created(user);
        setCreated(user);
        if (isOpen('new')) goNow({ user: user.id }, { replace: true });
      }}
      onDeleted={(user) => {
        own.deleted(user);
        if (isOpen(user.id)) onClose();
      }}
      onCreateAgain={(edits) => {
        setDraft(edits);
        goNow({ user: 'new' }, { replace: true });
      }}
    />
  );
}

/** The attributes with which a new user matches the filter, as far as the caller may write them. */
function newAttributes(list: UserList): JsonObject {
  // The filter that is shown may be invalid, and then the list is that of another one.
  if (!list.isShowing(list.query)) return {};
  const { protectedAttributes } = list.directory.caller;
  const allowed = Object.entries(filteredValues(list.query.filter)).filter(([key]) => !protectedAttributes.has(key));
  return Object.fromEntries(allowed);
}

/** Where the user is in the list; undefined if the page has not loaded its row. */
function placeOf(list: UserList, id: string, go: Go): Place | undefined {
  const row = list.rowOf(id);
  if (row < 0) return undefined;
  const goTo = (other: number) => {
    const user = list.userAt(other);
    // The rows around the open one are about to be loaded.
    if (user !== undefined) go({ user: user.id }, { replace: true });
  };
  const { total, arrivals, rows, hasMore } = list;
  // Users that are leaving the list are not in its total.
  const isShown = !list.isOutdated && list.isExact(row) && list.leavingReason(id) === undefined;
  // New users are in the total, but are not rows yet.
  const counted = total.kind === 'exact' ? total.count - arrivals.count : undefined;
  return {
    shown: isShown ? { position: row + 1, total: hasMore ? counted : rows } : undefined,
    onPrevious: row === 0 ? undefined : () => goTo(row - 1),
    onNext: row + 1 >= rows && !hasMore ? undefined : () => goTo(row + 1),
  };
}

interface OneUserProps extends Omit<UserPanelProps, 'user' | 'latest'> {
  readonly id: string;
  /** The user from the list, to show without waiting for the server. */
  readonly known: User | undefined;
  readonly changeListeners: ChangeListeners;
}

function OneUser({ id, known, changeListeners, ...panelProps }: OneUserProps) {
  const { directory, onClose } = panelProps;
  const [user, setUser] = useState<User | 'gone' | undefined>(known);
  const [latest, setLatest] = useState<User | 'gone'>();
  const [problem, setProblem] = useState('');
  const [tries, setTries] = useState(0);

  useEffect(() => {
    if (id === 'new') return;
    let isUnmounted = false;
    async function read(show: (user: User | 'gone') => void, fail: (problem: string) => void): Promise<void> {
      try {
        const found = (await readUser(directory, id)) ?? 'gone';
        if (!isUnmounted) show(found);
      } catch (error) {
        if (!isUnmounted) fail(describeFailure(error));
      }
    }
    const onChanges = (changes: readonly UserChange[]) => {
      // If this read fails, saving will still detect a newer version.
      if (changes.length === 0) void read(setLatest, () => {});
      const own = changes.findLast((change) => change.user?.id === id)?.user;
      // A deleted user has only the id.
      if (own !== undefined) setLatest(own.email === '' ? 'gone' : own);
    };
    // Listen before reading, so that no change in between is missed.
    changeListeners.add(onChanges);
    if (user === undefined) void read(setUser, setProblem);
    else void read(setLatest, () => {});
    return () => {
      isUnmounted = true;
      changeListeners.delete(onChanges);
    };
  }, [directory, id, changeListeners, tries]);

  usePageTitle('open', id === 'new' ? 'New user' : user === undefined || user === 'gone' ? '' : user.displayName);
  if (id === 'new' || (user !== undefined && user !== 'gone')) {
    return <UserPanel {...panelProps} user={user === 'gone' ? undefined : user} latest={latest} />;
  }
  if (user === undefined && problem === '') {
    return (
      <Panel title="User" onClose={onClose}>
        <p class="line soft" role="status">
          <span class="spinner" aria-hidden="true" />
          Loading…
        </p>
      </Panel>
    );
  }
  return (
    <Panel
      title={user === 'gone' ? 'User not found' : 'Cannot show this user'}
      onClose={onClose}
      onSubmit={() => {
        if (user === 'gone') return onClose();
        setProblem('');
        setTries(tries + 1);
      }}
      footer={
        <button type="submit" class="button primary">
          {user === 'gone' ? 'Close' : 'Try again'}
        </button>
      }
    >
      <p role="status">{user === 'gone' ? 'No user has this id. It may have been deleted.' : problem}</p>
    </Panel>
  );
}
