/**
 * The whole page: its header, the current view and the open dialog.
 *
 * The URL's hash determines what is open (route.ts). Browsers do not send it to servers.
 */
import { useCallback, useEffect, useLayoutEffect, useMemo, useReducer, useRef } from 'preact/hooks';
import { selectsAll } from './address/list-query.js';
import { usePageTitle } from './address/page-title.js';
import { type Go, listQueryOf, readRoute, useRoute } from './address/route.js';
import { targetOfAll } from './calls/bulk-target.js';
import type { Directory } from './calls/directory.js';
import { usePageOverlay } from './commands/page-overlay.js';
import { Header } from './header.js';
import { ListView } from './list/list-view.js';
import { useLiveList } from './list/live-list.js';
import { useSelection } from './list/use-selection.js';
import type { UserList } from './list/user-list.js';
import { NoAccess } from './no-access.js';
import { SignIn } from './sign-in.js';
import { ToastList } from './toast-list.js';
import { afterPaint } from './ui/after-paint.js';
import { lazyDialog, lazyPanel, lazyView } from './ui/lazy.js';
import type { LeaveGuard } from './user/user-panel.js';

const MetricsView = lazyView('Metrics', async () => (await import('./metrics/metrics-view.js')).MetricsView);
const OpenUser = lazyPanel('User', async () => (await import('./list/open-user.js')).OpenUser);
const ImportDialog = lazyDialog('Import users', async () => (await import('./import/import-dialog.js')).ImportDialog);
const ExportDialog = lazyDialog('Export users', async () => (await import('./export/export-dialog.js')).ExportDialog);

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
  const [route, goNow] = useRoute();
  const leaveGuard: LeaveGuard = useRef(undefined);
  const go = useGuardedGo(goNow, leaveGuard);
  const { list, version, feedState, changeListeners } = useLiveList(directory, listQueryOf(route));
  const selection = useSelection(route, changeListeners, list);
  useLayoutEffect(() => {
    list.selection = selection;
  }, [list, selection]);
  const shownColumns = useRef<readonly string[]>([]);
  const { query, filter, orderBy } = route;
  const wholeTarget = useMemo(() => targetOfAll({ query, filter, orderBy }), [query, filter, orderBy]);
  const hasResult = list.generation > 0;
  useEffect(() => {
    if (!hasResult) return;
    return afterPaint(() => {
      // So that the first person opens at once.
      void OpenUser.preload();
      void directory.preload();
    });
  }, [hasResult, directory]);
  const { session } = directory;
  const { caller } = session;
  // Until the session is known, the list shows that it is loading.
  const mayList = !session.isKnown || caller.may('listUsers');
  const open = useCallback((id: string) => go({ user: id }), [go]);
  const closeUser = useCallback(() => goNow({ user: '' }, { replace: true }), [goNow]);
  const closeDialog = useCallback(() => go({ dialog: '' }, { replace: true }), [go]);

  const { commands, overlay } = usePageOverlay({ directory, view: route.view, go, onOpenUser: open });
  usePageTitle('view', route.view === 'metrics' ? 'Metrics' : 'Users');
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
      <div class="workspace">
        {route.view === 'list' &&
          (mayList ? (
            <ListView
              {...{ list, version, route, go, caller, selection, shownColumns }}
              isOffline={feedState === 'offline'}
              onOpen={open}
            />
          ) : (
            <NoAccess caller={caller} />
          ))}
        {route.view === 'metrics' && <MetricsView directory={directory} users={usersOf(list)} />}
        {route.user !== '' && (route.user !== 'new' || !session.isKnown || caller.may('createUser')) && (
          <OpenUser
            directory={directory}
            list={list}
            id={route.user}
            isInList={route.view === 'list' && mayList}
            changeListeners={changeListeners}
            isLive={feedState === 'live'}
            leaveGuard={leaveGuard}
            go={go}
            goNow={goNow}
            onClose={closeUser}
          />
        )}
      </div>
      {route.dialog === 'import' && caller.may('batchCreateUsers') && (
        <ImportDialog
          directory={directory}
          isOpenAt={(hash) => readRoute(hash).dialog === 'import'}
          onClose={closeDialog}
          onImported={(importedUpTo) => list.refresh({ importedUpTo })}
        />
      )}
      {route.dialog === 'export' && caller.may('exportUsers') && (
        <ExportDialog directory={directory} target={wholeTarget} shownColumns={shownColumns} onClose={closeDialog} />
      )}
      <ToastList />
      {overlay}
      {session.needsSignIn && <SignIn session={session} />}
    </div>
  );
}

/** How many users the directory has, if the list shows all of them and has counted them. */
function usersOf({ generation, isOutdated, query, total }: UserList): number | undefined {
  const isKnown = generation > 0 && !isOutdated && selectsAll(query) && total.kind === 'exact';
  return isKnown ? total.count : undefined;
}

/** Asks before another user replaces one with edits. */
function useGuardedGo(goNow: Go, leaveGuard: LeaveGuard): Go {
  return useCallback<Go>(
    (change, how) => {
      const isOther = change.user !== undefined && change.user !== readRoute(location.hash).user;
      if (isOther && leaveGuard.current !== undefined) leaveGuard.current(() => goNow(change, how));
      else goNow(change, how);
    },
    [goNow, leaveGuard],
  );
}
