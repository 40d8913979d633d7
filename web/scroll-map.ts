/**
 * Fits a list of any length into an element of a height that browsers can show.
 *
 * Small steps move the list by as many pixels as the element was scrolled; a leap, as of the scroll bar, goes to the
 * same fraction of the list. Whoever comes near the element's end by small steps is set back towards its middle, with
 * the list left where it is. Pure.
 */

/** Firefox shows no element above 17.8 million pixels, Chromium none above 33 million. */
export const heightPxMax = 8_000_000;

// A leap: no wheel and no finger goes further between two frames.
const leapViews = 4;
const edgeViews = 4;

export interface ScrollMap {
  /** Of the element that is scrolled. */
  readonly heightPx: number;
  /** What of the list is at the element's own top: subtract it from where a row is in the list. */
  readonly offsetPx: number;
  /** The list's or the window's size has changed. */
  resize(listPx: number, viewPx: number): void;
  /** Where in the list the view is after the element was scrolled; `scrollTo` where it must be scrolled again. */
  scrolled(scrollTop: number): { readonly topPx: number; readonly scrollTo: number | undefined };
  /** What to scroll the element to, so that the view begins at `topPx` of the list. */
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
      if (step > leapViews * viewPx) {
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
