/** The widths that the contents of the columns need: measured once after the first rows, and when the person asks. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { User } from '../../generated/users/v1/user.js';
import { afterPaint } from '../ui/after-paint.js';
import { measureColumns } from './column-fit.js';
import type { Column } from './columns.js';
import type { GridScroll } from './grid-scroll.js';
import type { GridSettings } from './grid-settings.js';
import type { UserList } from './user-list.js';

/** Their texts take a browser a few milliseconds. */
const rowsMax = 100;
/** A column that was wider by less than this keeps its width, so that columns do not move at each visit. */
const slackPx = 32;

/** Returns a function that gives a column the width of its content. `isOn` unless the rows are cards. */
export function useColumnWidths(
  list: UserList,
  columns: readonly Column[],
  settings: GridSettings,
  { scrollerRef, first }: GridScroll,
  isOn: boolean,
): (column: Column) => void {
  const measured = useRef(new Set<string>());
  const isPainted = usePainted(list.userAt(first) !== undefined);
  const measure = (those: readonly Column[]) =>
    scrollerRef.current === null ? {} : measureColumns(those, usersNear(list, first), scrollerRef.current);

  // Before the paint, so that a column that was added has its width from the start.
  useLayoutEffect(() => {
    if (!isOn || !isPainted) return;
    const isNew = ({ id }: Column) => !measured.current.has(id);
    const before = settings.look.contentWidths;
    const widths = Object.entries(measure(columns.filter(isNew))).map(([id, px]) => {
      measured.current.add(id);
      const known = before[id] ?? 0;
      return [id, known >= px && known - px < slackPx ? known : px] as const;
    });
    if (widths.some(([id, px]) => before[id] !== px)) {
      settings.change({ contentWidths: { ...before, ...Object.fromEntries(widths) } });
    }
  }, [columns, isOn, isPainted]);

  return (column) => settings.change({ widths: { ...settings.look.widths, ...measure([column]) } });
}

function usersNear(list: UserList, row: number): User[] {
  const from = Math.max(0, row - rowsMax / 2);
  return Array.from({ length: rowsMax }, (_, index) => list.userAt(from + index) ?? []).flat();
}

/** Whether the browser has painted rows, which nothing should delay. */
function usePainted(hasRows: boolean): boolean {
  const [isPainted, setPainted] = useState(false);
  useEffect(() => {
    if (!hasRows || isPainted) return;
    return afterPaint(() => setPainted(true));
  }, [hasRows, isPainted]);
  return isPainted;
}
