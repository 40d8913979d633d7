/** The actions for the selected users: their buttons in the selection bar, their commands, and the dialog of the chosen one. */
import { useState } from 'preact/hooks';
import type { ListQuery } from '../address/list-query.js';
import { type BulkTarget, targetOf } from '../calls/bulk-target.js';
import type { Caller } from '../calls/caller.js';
import type { Directory } from '../calls/directory.js';
import { useCommands } from '../commands/commands.js';
import type { ExportDialogProps } from '../export/export-dialog.js';
import { formatCount } from '../text/format.js';
import { BinIcon, CloseIcon, ExportIcon, RenameIcon } from '../ui/icons.js';
import { lazyDialog } from '../ui/lazy.js';
import type { Selection } from '../users/selection.js';
import { mayStopMatching } from './may-stop-matching.js';

const ExportDialog = lazyDialog('Export', async () => (await import('../export/export-dialog.js')).ExportDialog);
const AttributeDialog = lazyDialog(
  'Change an attribute',
  async () => (await import('./bulk-attribute.js')).BulkAttributeDialog,
);
const DeleteDialog = lazyDialog('Delete', async () => (await import('./bulk-delete.js')).BulkDeleteDialog);

const actions = [
  { id: 'export', method: 'exportUsers', label: 'Export', words: 'download file csv', icon: ExportIcon },
  { id: 'attribute', method: 'updateUser', label: 'Change attribute', words: 'set edit remove', icon: RenameIcon },
  { id: 'delete', method: 'deleteUser', label: 'Delete', words: 'remove erase', icon: BinIcon },
] as const;

type Action = (typeof actions)[number]['id'];

export interface BulkActionsProps {
  readonly directory: Directory;
  readonly caller: Caller;
  readonly selection: Selection;
  readonly shownColumns: ExportDialogProps['shownColumns'];
  readonly query: ListQuery;
  /** The number of users that match; undefined if it is not known. */
  readonly total: number | undefined;
  /** Whether the list shows the rows of another query. */
  readonly isOutdated: boolean;
  /** Called after users were changed, or after those with the ids `deleted` were deleted. */
  onChanged(deleted?: ReadonlySet<string>): void;
}

/** The dialog is not in the selection bar, because the bar disappears with the selection. */
export function useBulkActions(options: BulkActionsProps) {
  const { directory, caller, selection, shownColumns, query, total, isOutdated, onChanged } = options;
  const [open, setOpen] = useState<{ readonly action: Action; readonly target: BulkTarget }>();
  const start = (action: Action) => setOpen({ action, target: targetOf(selection, query, total) });
  const offered = actions.filter(({ method }) => caller.may(method));
  useCommands(() => {
    if (selection.isEmpty) return [];
    const count = selection.count(total);
    const users = count === undefined ? 'all that match' : `${formatCount(count)} selected`;
    const group = 'Selection' as const;
    return [
      ...(isOutdated ? [] : offered).map(({ id, label, words, icon }) => ({
        id: `${id}-selected`,
        label: id === 'attribute' ? `${label} of ${users}…` : `${label} ${users}…`,
        ...{ group, words, icon },
        run: () => start(id),
      })),
      { id: 'clear-selection', label: 'Clear selection', group, icon: CloseIcon, run: selection.clear },
    ];
  }, [selection.ids, selection.excluded, selection.isAll, caller, query, total, isOutdated]);
  const props = open && { directory, target: open.target, onClose: () => setOpen(undefined) };
  const buttons = offered.map(({ id, label }) => (
    <button
      key={id}
      type="button"
      class={id === 'delete' ? 'button small danger-text' : 'button small'}
      disabled={isOutdated}
      onClick={() => start(id)}
    >
      {label}…
    </button>
  ));
  /**
   * Selects what an action has left over, even if all users that match were selected: those that were changed may no longer
   * match, and a later action would change them unseen.
   */
  const selectOnly = (ids: readonly string[]) => {
    selection.clear();
    selection.toggleRange(ids, true);
  };
  const onAttributeTried = (failedIds: readonly string[], key: string) => {
    if (failedIds.length > 0 || mayStopMatching(query.filter, key)) selectOnly(failedIds);
  };
  const dialog = (
    <>
      {props !== undefined && open?.action === 'export' && <ExportDialog {...props} shownColumns={shownColumns} />}
      {props !== undefined && open?.action === 'attribute' && (
        <AttributeDialog {...props} onChanged={onChanged} onTried={onAttributeTried} />
      )}
      {props !== undefined && open?.action === 'delete' && (
        <DeleteDialog {...props} onChanged={onChanged} onTried={selectOnly} />
      )}
    </>
  );
  return { buttons, dialog };
}
