/** The actions for the selected users: their buttons in the selection bar, and the dialog of the chosen one. */
import { useState } from 'preact/hooks';
import { type BulkTarget, targetOf } from './bulk-target.js';
import type { Caller } from './caller.js';
import type { Directory } from './directory.js';
import type { ExportDialogProps } from './export-dialog.js';
import { lazyDialog } from './lazy.js';
import type { ListQuery } from './list-query.js';
import type { Selection } from './selection.js';

const ExportDialog = lazyDialog('Export', async () => (await import('./export-dialog.js')).ExportDialog);
const AttributeDialog = lazyDialog(
  'Change an attribute',
  async () => (await import('./bulk-attribute.js')).BulkAttributeDialog,
);
const DeleteDialog = lazyDialog('Delete', async () => (await import('./bulk-delete.js')).BulkDeleteDialog);

type Action = 'export' | 'attribute' | 'delete';

export interface BulkActionsProps {
  readonly directory: Directory;
  readonly caller: Caller;
  readonly selection: Selection;
  readonly shownColumns: ExportDialogProps['shownColumns'];
  readonly query: ListQuery;
  /** The number of users that match; undefined if it is not known. */
  readonly total: number | undefined;
  /** Called after users were changed or deleted. */
  onChanged(): void;
}

/** The dialog is not in the selection bar, because the bar disappears with the selection. */
export function useBulkActions(options: BulkActionsProps) {
  const { directory, caller, selection, shownColumns, query, total, onChanged } = options;
  const [open, setOpen] = useState<{ readonly action: Action; readonly target: BulkTarget }>();
  const button = (action: Action, label: string) => (
    <button
      type="button"
      class={action === 'delete' ? 'button small danger-text' : 'button small'}
      onClick={() => setOpen({ action, target: targetOf(selection, query, total) })}
    >
      {label}
    </button>
  );
  const props = open && { directory, target: open.target, onClose: () => setOpen(undefined) };
  const buttons = (
    <>
      {caller.may('exportUsers') && button('export', 'Export…')}
      {caller.may('updateUser') && button('attribute', 'Change attribute…')}
      {caller.may('deleteUser') && button('delete', 'Delete…')}
    </>
  );
  /**
   * Selects what an action has left over, also if all users that match were selected: those that were changed may no longer
   * match, and a later action would change them unseen.
   */
  const selectOnly = (ids: readonly string[]) => {
    selection.clear();
    selection.toggleRange(ids, true);
  };
  const dialog = (
    <>
      {props !== undefined && open?.action === 'export' && <ExportDialog {...props} shownColumns={shownColumns} />}
      {props !== undefined && open?.action === 'attribute' && (
        <AttributeDialog {...props} onChanged={onChanged} onTried={selectOnly} />
      )}
      {props !== undefined && open?.action === 'delete' && (
        <DeleteDialog {...props} onChanged={onChanged} onTried={selectOnly} />
      )}
    </>
  );
  return { buttons, dialog };
}
