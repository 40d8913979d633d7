/** The button that names the current view and opens the saved views. A view's columns are in the address. */
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { allPeople, type Go, type Route } from '../address/route.js';
import type { Session } from '../calls/session.js';
import { type Command, useCommands } from '../commands/commands.js';
import { ChevronIcon, UsersIcon } from '../ui/icons.js';
import { lazyPopup } from '../ui/lazy.js';
import { PopupButton } from '../ui/popup.js';
import { useStore } from '../ui/use-store.js';
import type { GridSettings } from './grid-settings.js';
import { createSavedViews, isSameView, readColumns, type SavedView, viewRoute, writeColumns } from './saved-views.js';

const ViewsPanel = lazyPopup(async () => (await import('./views-panel.js')).ViewsPanel);

export interface ViewsButtonProps {
  readonly session: Session;
  readonly route: Route;
  readonly go: Go;
  /** With the columns of the view, if it has some. */
  readonly settings: GridSettings;
}

// Only a page that was opened without a view starts with the chosen one.
let mayStart = location.hash === '';

export function ViewsButton({ session, route, go, settings }: ViewsButtonProps) {
  const { actor } = session.caller;
  const saved = useMemo(() => createSavedViews(actor), [actor]);
  useStore(saved);
  useCommands(() => viewCommands(saved.views, go), [saved.views, go]);
  useStore(settings);
  const { startName } = saved;
  useEffect(() => {
    if (!session.isKnown) return;
    const start = saved.views.find(({ name }) => name === startName);
    // Without an address of their own, all people would be left by a reload.
    if (start !== undefined && location.hash === '')
      go(mayStart ? viewRoute(start) : { isAll: true }, { replace: true });
    mayStart = false;
  }, [saved, session.isKnown, startName, route]);

  const shown = { ...route, columns: writeColumns(settings.look.columns) };
  const known = saved.views.find(({ name }) => name === route.name);
  const isEdited = known !== undefined && !isSameView(known, route);
  const name = route.name === '' ? 'All users' : route.name;
  return (
    <PopupButton
      label={`View: ${name}${isEdited ? ', edited' : ''}`}
      buttonClass="button views-button"
      role="dialog"
      widthPx={320}
      face={
        <>
          <bdi class="truncate">{name}</bdi>
          {isEdited && <span class="edited-dot" aria-hidden="true" />}
          <ChevronIcon />
        </>
      }
    >
      {(close) => (
        <ViewsPanel
          saved={saved}
          current={shown}
          isEdited={isEdited}
          onOpen={(view) => {
            close();
            go(viewRoute(view));
          }}
          onRename={(from, to) => {
            saved.rename(from, to);
            if (route.name === from) go({ name: to }, { replace: true });
          }}
          onSave={(view) => {
            close();
            saved.save(view);
            go(viewRoute(view), { replace: true });
          }}
        />
      )}
    </PopupButton>
  );
}

/** The commands that open the saved views, and "All users" if there are some. */
function viewCommands(views: readonly SavedView[], go: Go): Command[] {
  if (views.length === 0) return [];
  return [allPeople, ...views].map((view, index) => ({
    id: `view-${index}`,
    label: view.name === '' ? 'All users' : view.name,
    group: 'Views',
    words: 'view open',
    icon: UsersIcon,
    run: () => go(viewRoute(view)),
  }));
}

/** The settings of the grid, with the columns of the view. Changes of a view's columns go to the address. */
export function useViewSettings(settings: GridSettings, { name, columns }: Route, go: Go): GridSettings {
  const inView = useMemo<GridSettings>(() => {
    if (name === '' && columns === '') return settings;
    return {
      get look() {
        return { ...settings.look, columns: readColumns(columns) ?? settings.look.columns };
      },
      change({ columns: ids, ...others }) {
        if (ids !== undefined) latestGo.current({ columns: writeColumns(ids) }, { replace: true });
        // The page then chooses them, or the list has the person's own columns.
        else if (columns !== '' && Object.keys(others).length === 0)
          latestGo.current({ columns: '' }, { replace: true });
        if (Object.keys(others).length > 0) settings.change(others);
      },
      subscribe: (listener) => settings.subscribe(listener),
    };
  }, [settings, name, columns]);
  const latestGo = useRef(go);
  latestGo.current = go;
  return inView;
}
