/**
 * The whole page: its header, the current view and the open dialog. Owns the list and the feed.
 *
 * The URL's hash determines what is open (route.ts). Browsers do not send it to servers.
 */
import { useCallback, useEffect, useReducer, useRef, useState } from 'preact/hooks';
import { ActivityView } from './activity.js';
import type { Directory } from './directory.js';
import { ExportDialog } from './export-dialog.js';
import { Header } from './header.js';
import { ImportDialog } from './import-dialog.js';
import { isSameQuery, selectsAll } from './list-query.js';
import { ListView } from './list-view.js';
import { type ChangeListeners, OpenUser } from './open-user.js';
import { listQueryOf, readRoute, useRoute } from './route.js';
import { SignIn } from './sign-in.js';
import { type FeedState, UserFeed } from './user-feed.js';
import { UserList } from './user-list.js';

/** If the server rejects a token later than this, the token was valid and has expired. */
const refusedWithinMs = 10_000;

export function App({ directory }: { directory: Directory }) {
  const [route, go] = useRoute();
  const [list] = useState(() => new UserList(directory, listQueryOf(route)));
  const [version, redraw] = useReducer<number, void>((before) => before + 1, 0);
  const [changeListeners] = useState<ChangeListeners>(() => new Set());
  const [feedState, setFeedState] = useState<FeedState>('connecting');

  useEffect(() => list.onChange(() => redraw()), [list]);
  useEffect(() => {
    let hasFailed = false;
    const feed = new UserFeed({
      directory,
      onChanges(changes) {
        list.apply(changes);
        for (const onChanges of changeListeners) onChanges(changes);
      },
      onGap() {
        list.refresh();
        for (const onChanges of changeListeners) onChanges([]);
      },
      onState(state) {
        setFeedState(state);
        if (state === 'live' && hasFailed) list.resume();
        hasFailed = state === 'reconnecting' || state === 'offline' || (hasFailed && state !== 'live');
      },
    });
    return () => feed.close();
  }, [directory, list, changeListeners]);

  useEffect(() => {
    const query = listQueryOf(route);
    if (!isSameQuery(query, list.requestedQuery)) list.request(query);
  }, [route, list]);

  const { signIns, wasRefused } = useSignIns(directory, () => list.retry());
  const open = useCallback((id: string) => go({ user: id }), [go]);
  const close = useCallback(() => go({ user: '', dialog: '' }, { replace: true }), [go]);
  // If another user has been opened before the response arrives, that user's form stays open.
  const closeUser = () => {
    if (readRoute(location.hash).user === route.user) close();
  };

  return (
    <div class="page">
      <Header
        route={route}
        go={go}
        feedState={feedState}
        total={list.generation === 0 ? undefined : list.total}
        rows={list.rows}
        isSearch={!selectsAll(list.query)}
      />
      {route.view === 'list' && <ListView list={list} version={version} route={route} go={go} onOpen={open} />}
      {route.view === 'activity' && <ActivityView />}
      {route.user !== '' && (
        <OpenUser
          key={route.user}
          directory={directory}
          id={route.user}
          known={list.userAt(list.rowOf(route.user))}
          changeListeners={changeListeners}
          onClose={close}
          onSaved={(user) => {
            if (route.user === 'new') list.add(user);
            else list.put(user);
            closeUser();
          }}
          onDeleted={({ id }) => {
            list.drop(id);
            closeUser();
          }}
        />
      )}
      {route.dialog === 'import' && (
        <ImportDialog directory={directory} onClose={close} onImported={(newest) => list.refresh(newest)} />
      )}
      {route.dialog === 'export' && (
        <ExportDialog directory={directory} selection={listQueryOf(route)} onClose={close} />
      )}
      {/* If the back button opens another dialog, a new key mounts this one again, on top of it. */}
      {directory.needsSignIn && (
        <SignIn key={`${signIns} ${route.user} ${route.dialog}`} directory={directory} wasRefused={wasRefused} />
      )}
    </div>
  );
}

/** Counts the requests for a token, and says whether the server rejected the last token. */
function useSignIns(directory: Directory, onSignedIn: () => void) {
  const [signIns, setSignIns] = useState(directory.needsSignIn ? 1 : 0);
  const [wasRefused, setRefused] = useState(false);
  const signedInAt = useRef(Number.NEGATIVE_INFINITY);
  const [, redraw] = useReducer<number, void>((before) => before + 1, 0);
  useEffect(
    () =>
      directory.onSignIn(() => {
        if (directory.needsSignIn) {
          setSignIns((before) => before + 1);
          setRefused(performance.now() - signedInAt.current < refusedWithinMs);
        } else {
          signedInAt.current = performance.now();
          onSignedIn();
        }
        redraw();
      }),
    [directory],
  );
  return { signIns, wasRefused };
}
