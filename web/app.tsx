/**
 * The whole page: its header, the current view and the open dialog.
 *
 * The URL's hash determines what is open (route.ts). Browsers do not send it to servers.
 */
import { useCallback, useLayoutEffect, useReducer } from 'preact/hooks';
import type { Directory } from './directory.js';
import { Header } from './header.js';
import { lazyDialog, lazyView } from './lazy.js';
import { selectsAll } from './list-query.js';
import { ListView } from './list-view.js';
import { useLiveList } from './live-list.js';
import { NoAccess } from './no-access.js';
import { usePageOverlay } from './page-overlay.js';
import { usePageTitle } from './page-title.js';
import { listQueryOf, readRoute, useRoute } from './route.js';
import { SignIn } from './sign-in.js';
import { useSelection } from './use-selection.js';

const ActivityView = lazyView('Activity', async () => (await import('./activity.js')).ActivityView);
const OpenUser = lazyDialog('User', async () => (await import('./open-user.js')).OpenUser);
const ImportDialog = lazyDialog('Import users', async () => (await import('./import-dialog.js')).ImportDialog);
const ExportDialog = lazyDialog('Export users', async () => (await import('./export-dialog.js')).ExportDialog);

const dialogTitles = { '': '', import: 'Import users', export: 'Export users' };

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
  const { list, version, feedState, changeListeners } = useLiveList(directory, listQueryOf(route));
  const selection = useSelection(route, changeListeners);
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

  const { commands, overlay } = usePageOverlay({ directory, view: route.view, go, onOpenUser: open });
  usePageTitle('view', route.view === 'activity' ? 'Activity' : 'Users');
  usePageTitle('open', dialogTitles[route.dialog]);

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
        commands={commands}
      />
      {route.view === 'list' &&
        (mayList ? (
          <ListView
            {...{ list, version, route, go, caller, selection }}
            isOffline={feedState === 'offline'}
            onOpen={open}
          />
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
      {overlay}
      {session.needsSignIn && <SignIn session={session} />}
    </div>
  );
}
