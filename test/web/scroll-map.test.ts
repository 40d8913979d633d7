/** Tests a list of any length in an element of a bounded height: the rows in view, and the element's position. */
import { describe, expect, it } from 'vitest';
import { createScrollMap } from '../../web/list/scroll-map.js';

const viewPx = 600;

/** Like an element in a browser, which does not scroll beyond its ends. */
function scrollable(listPx: number, heightMax = 10_000) {
  const map = createScrollMap(heightMax);
  map.resize(listPx, viewPx);
  let scrollTop = 0;
  let topPx = 0;
  const set = (px: number) => {
    scrollTop = Math.max(0, Math.min(px, map.heightPx - viewPx));
    const { topPx: top, scrollTo } = map.scrolled(scrollTop);
    topPx = top;
    if (scrollTo !== undefined) scrollTop = scrollTo;
  };
  return {
    map,
    by: (px: number) => set(scrollTop + px),
    leapTo: (px: number) => set(px),
    goTo: (px: number) => {
      scrollTop = map.goTo(px);
      topPx = scrollTop + map.offsetPx;
    },
    get topPx() {
      return topPx;
    },
    get scrollTop() {
      return scrollTop;
    },
  };
}

describe('a list that fits', () => {
  it('scrolls with the element', () => {
    const list = scrollable(5_000);
    list.by(1_234);
    expect([list.map.heightPx, list.topPx, list.map.offsetPx]).toEqual([5_000, 1_234, 0]);
    list.leapTo(4_400);
    expect([list.topPx, list.map.offsetPx]).toEqual([4_400, 0]);
  });
});

describe('a list that is longer than an element can be', () => {
  const listPx = 1_000_000;

  it('is as high as the bound', () => {
    expect(scrollable(listPx).map.heightPx).toBe(10_000);
  });

  it('moves as far as the element with each small step, from one end to the other and back', () => {
    const list = scrollable(listPx);
    let expected = 0;
    for (let step = 0; step < 3_000; step++) {
      list.by(400);
      expected = Math.min(expected + 400, listPx - viewPx);
      expect(list.topPx).toBe(expected);
    }
    expect(list.topPx).toBe(listPx - viewPx);
    expect(list.scrollTop).toBe(10_000 - viewPx);
    for (let step = 0; step < 3_000; step++) list.by(-400);
    expect([list.topPx, list.scrollTop, list.map.offsetPx]).toEqual([0, 0, 0]);
  });

  it('goes to the same fraction with a jump', () => {
    const list = scrollable(listPx);
    list.leapTo((10_000 - viewPx) / 2);
    expect(list.topPx).toBe((listPx - viewPx) / 2);
    list.leapTo(10_000 - viewPx);
    expect(list.topPx).toBe(listPx - viewPx);
    list.leapTo(0);
    expect(list.topPx).toBe(0);
  });

  it.each([0, 3_000, 500_000, listPx - 3_000, listPx - viewPx])(
    'goes to %d, and small steps continue from there',
    (px) => {
      const list = scrollable(listPx);
      list.goTo(px);
      expect(list.topPx).toBe(px);
      const step = px === 0 ? 200 : -200;
      list.by(step);
      expect(list.topPx).toBe(px + step);
    },
  );

  it('stays where it is while it grows', () => {
    const list = scrollable(9_000);
    list.leapTo(8_400);
    for (let rows = 1; rows < 50; rows++) {
      list.map.resize(9_000 + rows * 5_000, viewPx);
      list.by(10);
      expect(list.topPx).toBe(8_400 + rows * 10);
    }
  });
});
