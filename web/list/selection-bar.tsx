/** Says how many users are selected, and has the actions for them. */
import type { ComponentChildren } from 'preact';
import { useRef } from 'preact/hooks';
import { formatCount } from '../text/format.js';
import { useListCover } from '../ui/cover.js';
import { useStore } from '../ui/use-store.js';
import type { Selection } from '../users/selection.js';

export interface SelectionBarProps {
  readonly selection: Selection;
  /** The number of users that match; undefined if it is not known. */
  readonly total: number | undefined;
  /** The actions. */
  readonly children?: ComponentChildren;
}

export function SelectionBar({ selection, total, children }: SelectionBarProps) {
  useStore(selection);
  const count = selection.count(total);
  const canSelectAll = !selection.isAll && (total === undefined || total > selection.ids.size);
  return (
    <>
      <p class="visually-hidden" role="status">
        {selection.isEmpty ? '' : `${countText(selection, count)} selected`}
      </p>
      {!selection.isEmpty && (
        <Bar>
          <strong class="numeric" aria-hidden="true">
            {countText(selection, count)} selected
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

function countText({ isAll, excluded }: Selection, count: number | undefined): string {
  if (count !== undefined) return isAll && excluded.size === 0 ? `All ${formatCount(count)}` : formatCount(count);
  return excluded.size === 0 ? 'All that match' : `All that match except ${formatCount(excluded.size)}`;
}
