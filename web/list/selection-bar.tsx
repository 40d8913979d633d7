/** Says how many users are selected, and has the actions for them. */
import type { ComponentChildren } from 'preact';
import { useRef } from 'preact/hooks';
import { formatCount } from '../text/format.js';
import { useListCover } from '../ui/cover.js';
import { useStore } from '../ui/use-store.js';
import type { Selection } from '../users/selection.js';
import type { UserList } from './user-list.js';

export interface SelectionBarProps {
  readonly list: UserList;
  readonly selection: Selection;
  /** The number of users that match; undefined if it is not known. */
  readonly total: number | undefined;
  /** The actions. */
  readonly children?: ComponentChildren;
}

export function SelectionBar({ list, selection, total, children }: SelectionBarProps) {
  useStore(selection);
  const { ids, isAll, earlier } = selection;
  const canSelectAll =
    !isAll &&
    !list.isOutdated &&
    selection.maySelectAll &&
    (total === undefined || total > ids.size || (total > 0 && earlier.size > 0));
  // Actions change these users too, although their rows are not here.
  const elsewhere = [...earlier].filter((id) => list.rowOf(id) < 0).length;
  const text = `${countText(selection, total)} selected${elsewhere > 0 ? `, ${formatCount(elsewhere)} from another search` : ''}`;
  return (
    <>
      <p class="visually-hidden" role="status">
        {selection.isEmpty ? '' : text}
      </p>
      {!selection.isEmpty && (
        <Bar>
          <strong class="numeric" aria-hidden="true">
            {text}
          </strong>
          {canSelectAll && (
            <button type="button" class="button quiet small" onClick={() => selection.selectAll()}>
              {total === undefined ? 'Select all that match' : `Select all ${formatCount(total)}`}
            </button>
          )}
          <span class="line selection-actions">{children}</span>
          <button
            type="button"
            class="button quiet small selection-clear"
            aria-label="Clear the selection"
            title="Clear the selection (Escape)"
            onClick={() => selection.clear()}
          >
            Clear
          </button>
        </Bar>
      )}
    </>
  );
}

function Bar({ children }: { children: ComponentChildren }) {
  const element = useRef<HTMLElement>(null);
  useListCover('selection', element);
  return (
    <section class="selection-bar" aria-label="Selection" ref={element}>
      {children}
    </section>
  );
}

function countText(selection: Selection, total: number | undefined): string {
  const { isAll, excluded } = selection;
  const count = selection.count(total);
  if (count !== undefined) return isAll && excluded.size === 0 ? `All ${formatCount(count)}` : formatCount(count);
  return excluded.size === 0 ? 'All that match' : `All that match except ${formatCount(excluded.size)}`;
}
