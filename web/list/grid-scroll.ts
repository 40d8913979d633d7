/** The grid's scroll position: which rows are in view, and where they are. */
import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from 'preact/hooks';
import { listCover } from '../ui/cover.js';
import { useStore } from '../ui/use-store.js';
import { createScrollMap, type ScrollMap } from './scroll-map.js';
import { type RememberedRow, rememberedRow, rememberRow } from './scroll-memory.js';
import type { UserList } from './user-list.js';

/** The number of placeholder rows at the end while nobody knows how many rows follow. */
const placeholderRows = 30;

/** The number of rows in the document before and after those in view. */
const rowsAround = 8;
/** Without scrolling for this time, the list is at rest. */
const restMs = 50;

const rememberAfterMs = 300;

export interface GridScroll {
  /** The element that scrolls, and its header, which does not. */
  readonly scrollerRef: RefObject<HTMLDivElement | null>;
  readonly headRef: RefObject<HTMLDivElement | null>;
  readonly map: ScrollMap;
  /** The number of the list's rows and placeholders together. */
  readonly rowsShown: number;
  readonly first: number;
  readonly last: number;
  /** The number of rows to render before `first` and after `last`. */
  readonly around: number;
  /** The width of the view. */
  readonly widthPx: number;
  /** The number of rows that fit into the view, at least 1. */
  readonly rowsInView: number;
  onScroll(): void;
  /** Scrolls as far as needed to show the whole row. */
  reveal(row: number): void;
}

export function useGridScroll(list: UserList, version: number, rowPx: number): GridScroll {
  const scrollerRef = useRef<HTMLDivElement>(null);
  const headRef = useRef<HTMLDivElement>(null);
  const [map] = useState(createScrollMap);
  const [viewPx, setViewPx] = useState(600);
  const [widthPx, setWidthPx] = useState(0);
  const [topPx, setTopPx] = useState(0);

  useStore(listCover);
  const rowsShown = list.rows + (list.hasMore && list.total.kind !== 'exact' ? placeholderRows : 0);
  const listPx = rowsShown * rowPx + listCover.px;
  map.resize(listPx, viewPx);
  const first = Math.min(Math.floor(topPx / rowPx), Math.max(0, rowsShown - 1));
  const last = Math.min(Math.ceil((topPx + viewPx) / rowPx), rowsShown) - 1;

  const scrollTo = (px: number) => {
    const scroller = scrollerRef.current;
    if (scroller === null) return;
    scroller.scrollTop = map.goTo(px);
    setTopPx(Math.max(0, Math.min(px, listPx - viewPx)));
  };

  useLayoutEffect(() => {
    const scroller = scrollerRef.current;
    if (scroller === null) return;
    const measure = () => {
      setViewPx(scroller.clientHeight - (headRef.current?.offsetHeight ?? 0));
      setWidthPx(scroller.clientWidth);
    };
    const observer = new ResizeObserver(measure);
    observer.observe(scroller);
    measure();
    return () => observer.disconnect();
  }, []);

  const rowsInView = Math.max(1, Math.floor(viewPx / rowPx) - 1);
  const around = useRowsAround(list.rows > 0, first, rowsInView);
  const view = { list, version, rowPx, topPx, bottomPx: listPx - viewPx, first, last, scrollTo };
  useAnchor(view, useMemory(view));

  return {
    scrollerRef,
    headRef,
    map,
    rowsShown,
    first,
    last,
    around,
    widthPx,
    rowsInView,
    onScroll() {
      const scroller = scrollerRef.current;
      if (scroller === null) return;
      const { topPx: px, scrollTo: again } = map.scrolled(scroller.scrollTop);
      if (again !== undefined) scroller.scrollTop = again;
      setTopPx(px);
    },
    reveal(row) {
      if (row * rowPx < topPx) scrollTo(row * rowPx);
      else if ((row + 1) * rowPx > topPx + viewPx - listCover.px) scrollTo((row + 1) * rowPx + listCover.px - viewPx);
    },
  };
}

interface View {
  readonly list: UserList;
  readonly version: number;
  readonly rowPx: number;
  readonly topPx: number;
  /** The scroll position at the end of the known rows. */
  readonly bottomPx: number;
  readonly first: number;
  readonly last: number;
  scrollTo(px: number): void;
}

/** Scrolls a new result to the row that was in view when the person left it, or to its top. Returns what does so. */
function useMemory({ list, rowPx, topPx, bottomPx, first, scrollTo }: View): () => void {
  /** The row to scroll to as soon as it exists. */
  const goal = useRef<RememberedRow>(undefined);
  useLayoutEffect(() => {
    if (goal.current === undefined || goal.current.row >= list.rows) return;
    const { row, abovePx } = goal.current;
    const goalPx = row * rowPx + abovePx;
    scrollTo(goalPx);
    // Until the users are counted or loaded, the row may be the last known one, at the bottom of the view.
    if (goalPx <= bottomPx || list.userAt(row) !== undefined) goal.current = undefined;
  });
  const id = list.userAt(first)?.id;
  useEffect(() => {
    if (goal.current !== undefined || id === undefined) return;
    const timer = setTimeout(
      () => rememberRow(list.query, { row: first, abovePx: topPx - first * rowPx, id }),
      rememberAfterMs,
    );
    return () => clearTimeout(timer);
  }, [list, list.generation, topPx, first, id]);
  return () => {
    const remembered = rememberedRow(list.query);
    goal.current = remembered;
    scrollTo(0);
    if (remembered === undefined) return;
    void list.restore(remembered.row, remembered.id).then((isFound) => {
      if (!isFound) goal.current = undefined;
    });
  };
}

/** If rows are inserted or removed above the view, keeps the rows in it in place. */
function useAnchor({ list, version, rowPx, topPx, first, last, scrollTo }: View, onNew: () => void): void {
  const anchor = useRef({ generation: 0, rowPx, topPx: 0, first: 0, ids: [] as string[] });
  useLayoutEffect(() => {
    const was = anchor.current;
    if (was.generation !== list.generation) onNew();
    else if (was.rowPx !== rowPx) scrollTo(was.first * rowPx);
    else if (topPx > 0 && was.topPx === topPx) {
      // The first row that still exists stays in place.
      const index = was.ids.findIndex((id) => id !== '' && list.rowOf(id) >= 0);
      const movedRows = list.rowOf(was.ids[index] ?? '') - (was.first + index);
      if (index >= 0 && movedRows !== 0) scrollTo(topPx + movedRows * rowPx);
    }
  }, [version, list.generation, rowPx]);
  useLayoutEffect(() => {
    const ids: string[] = [];
    for (let row = first; row <= last; row++) ids.push(list.userAt(row)?.id ?? '');
    anchor.current = { generation: list.generation, rowPx, topPx, first, ids };
  });
}

/**
 * Returns 0 while all rows in view are new: when the first rows are shown, after a jump, and while the list scrolls by more
 * than its height with each frame. With fewer rows, the browser paints them sooner.
 */
function useRowsAround(hasRows: boolean, first: number, rowsInView: number): number {
  const painted = useRef<number>(undefined);
  const [, redraw] = useReducer<number, void>((before) => before + 1, 0);
  const areNew = painted.current === undefined || Math.abs(first - painted.current) >= rowsInView;
  useEffect(() => {
    if (!hasRows) return;
    painted.current = first;
    if (!areNew) return;
    const timer = setTimeout(() => redraw(), restMs);
    return () => clearTimeout(timer);
  });
  return areNew ? 0 : rowsAround;
}
