/**
 * Fits a list of any length into an element of a height that browsers can show.
 *
 * A small step moves the list by the scrolled pixels. A jump, such as with the scroll bar, goes to the same fraction of
 * the list. Near the element's ends, the element is scrolled back towards its middle, without moving the list.
 */

/** Firefox shows no element above 17.8 million pixels, Chromium none above 33 million. */
const heightPxMax = 8_000_000;

// A longer step is a jump, because neither a wheel nor a finger scrolls further between two frames.
const jumpViews = 4;
const edgeViews = 4;

export interface ScrollMap {
  /** The height of the scrolled element. */
  readonly heightPx: number;
  /** The list's position at the element's top. Subtract it from a row's position in the list. */
  readonly offsetPx: number;
  /** Call this if the size of the list or of the view has changed. */
  resize(listPx: number, viewPx: number): void;
  /** Returns the view's position in the list after a scroll. If `scrollTo` is set, scroll the element again. */
  scrolled(scrollTop: number): { readonly topPx: number; readonly scrollTo: number | undefined };
  /** Returns the scroll position at which the view begins at `topPx` of the list. */
  goTo(topPx: number): number;
}

export function createScrollMap(heightMax: number = heightPxMax): ScrollMap {
  let listPx = 0;
  let viewPx = 0;
  let offsetPx = 0;
  let lastTop = 0;

  const height = () => Math.min(listPx, heightMax);
  const listEnd = () => Math.max(0, listPx - viewPx);
  const elementEnd = () => Math.max(0, height() - viewPx);
  const clamp = (px: number) => Math.min(Math.max(px, 0), listEnd());

  function goTo(topPx: number): number {
    const top = clamp(topPx);
    const half = elementEnd() / 2;
    const fromEnd = listEnd() - top;
    lastTop = listPx <= heightMax || top <= half ? top : fromEnd <= half ? elementEnd() - fromEnd : half;
    offsetPx = top - lastTop;
    return lastTop;
  }

  return {
    get heightPx() {
      return height();
    },
    get offsetPx() {
      return offsetPx;
    },
    resize(list, view) {
      listPx = list;
      viewPx = view;
      if (listPx <= heightMax) offsetPx = 0;
    },
    scrolled(scrollTop) {
      const step = Math.abs(scrollTop - lastTop);
      lastTop = scrollTop;
      if (listPx <= heightMax) return { topPx: clamp(scrollTop), scrollTo: undefined };
      if (step > jumpViews * viewPx) {
        const topPx = clamp((scrollTop / elementEnd()) * listEnd());
        offsetPx = topPx - scrollTop;
        return { topPx, scrollTo: undefined };
      }
      const topPx = clamp(scrollTop + offsetPx);
      const edge = edgeViews * viewPx;
      const wrongTop = scrollTop < edge && topPx !== scrollTop;
      const wrongEnd = elementEnd() - scrollTop < edge && listEnd() - topPx !== elementEnd() - scrollTop;
      return { topPx, scrollTo: wrongTop || wrongEnd ? goTo(topPx) : undefined };
    },
    goTo,
  };
}
