/**
 * The whole page: its header, the current view and the open dialog. Owns the list and the feed.
 *
 * The URL's hash determines what is open (route.ts). Browsers do not send it to servers.
 */
import { useCallback, useEffect, useLayoutEffect, useReducer, useState } from 'preact/hooks';
import type { Directory } from './directory.js';
import { Header } from './header.js';
import { lazyDialog, lazyView } from './lazy.js';
import { isSameQuery, selectsAll } from './list-query.js';
import { ListView } from './list-view.js';
import { NoAccess } from './no-access.js';
import type { ChangeListeners } from './open-user.js';
import { listQueryOf, readRoute, useRoute } from './route.js';
import { SignIn } from './sign-in.js';
import { ToastList } from './toast-list.js';
import { useSelection } from './use-selection.js';
import { type FeedState, UserFeed } from './user-feed.js';
import { UserList } from './user-list.js';

const ActivityView = lazyView('Activity', async () => (await import('./activity.js')).ActivityView);
const OpenUser = lazyDialog('User', async () => (await import('./open-user.js')).OpenUser);
const ImportDialog = lazyDialog('Import from CSV', async () => (await import('./import-dialog.js')).ImportDialog);
const ExportDialog = lazyDialog('Export as CSV', async () => (await import('./export-dialog.js')).ExportDialog);

/**
 * Renders after each change of the session. A new generation of the session replaces the whole page, so that nothing of the
 * previous caller stays.
 */
export function Page({ directory }: { directory: Directory }) {
  const { session } = directory;
  const [, redraw] = useReducer<number, void>((before) => before + 1, 0);
  useLayoutEffect(() => session.onChange(() => redraw()), [session]);
  return <App key={session.generation} directory={directory} />;
}

function App({ directory }: { directory: Directory }) {
  const [route, go] = useRoute();
  const [list] = useState(() => new UserList(directory, listQueryOf(route)));
  const [version, redraw] = useReducer<number, void>((before) => before + 1, 0);
  const [changeListeners] = useState<ChangeListeners>(() => new Set());
  const selection = useSelection(route, changeListeners);
  const [feedState, setFeedState] = useState<FeedState>('connecting');

  useEffect(() => list.onChange(() => redraw()), [list]);
  useEffect(() => () => list.close(), [list]);
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

  const { session } = directory;
  const { caller } = session;
  // Until the session is known, the list shows that it is loading.
  const mayList = !session.isKnown || caller.may('listUsers');
  const open = useCallback((id: string) => go({ user: id }), [go]);
  const close = useCallback(() => go({ user: '', dialog: '' }, { replace: true }), [go]);
  // If another user has been opened before the response arrives, that user's form stays open.
  const closeUser = () => {
    if (readRoute(location.hash).user === route.user) close();
  };

  return (
    <div class="page">
      <Header
        session={session}
        route={route}
        go={go}
        feedState={feedState}
        total={list.generation === 0 || list.isOutdated ? undefined : list.total}
        rows={list.rows}
        isSearch={!selectsAll(list.query)}
      />
      {route.view === 'list' &&
        (mayList ? (
          <ListView {...{ list, version, route, go, caller, selection }} onOpen={open} />
        ) : (
          <NoAccess caller={caller} />
        ))}
      {route.view === 'activity' && <ActivityView directory={directory} />}
      {route.user !== '' && (route.user !== 'new' || !session.isKnown || caller.may('createUser')) && (
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
      {route.dialog === 'import' && caller.may('batchCreateUsers') && (
        <ImportDialog directory={directory} onClose={close} onImported={(newest) => list.refresh(newest)} />
      )}
      {route.dialog === 'export' && caller.may('exportUsers') && (
        <ExportDialog directory={directory} selection={listQueryOf(route)} onClose={close} />
      )}
      <ToastList />
      {session.needsSignIn && <SignIn session={session} />}
    </div>
  );
}
