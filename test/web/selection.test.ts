/** Tests which users are selected. */
import { describe, expect, it } from 'vitest';
import { createSelection } from '../../web/users/selection.js';

describe('a selection', () => {
  it('has the users that were toggled, and notifies its listeners', () => {
    const selection = createSelection();
    let calls = 0;
    const end = selection.subscribe(() => calls++);
    selection.toggle('a');
    selection.toggleRange(['b', 'c', 'a'], true);
    selection.toggle('b');
    expect([[...selection.ids], selection.isAll, selection.count(undefined), calls]).toEqual([['a', 'c'], false, 2, 3]);
    expect([selection.has('a'), selection.has('b'), selection.isEmpty]).toEqual([true, false, false]);
    selection.toggleRange(['a', 'c'], false);
    expect([selection.isEmpty, calls]).toEqual([true, 4]);
    selection.clear();
    end();
    selection.toggle('a');
    expect(calls).toBe(4);
  });

  it('has nobody selected again who was excluded, stopped to match and matches again', () => {
    const selection = createSelection();
    selection.selectAll();
    selection.toggle('a');
    expect(selection.count(5)).toBe(4);
    // Four users match now.
    selection.setMatching('a', false);
    selection.setMatching('b', false);
    expect([selection.count(4), selection.has('a'), [...selection.away]]).toEqual([4, false, ['a']]);
    selection.setMatching('a', true);
    expect([selection.count(5), selection.has('a'), selection.away.size]).toEqual([4, false, 0]);
    selection.setMatching('a', false);
    selection.selectAll();
    expect([selection.count(4), selection.away.size]).toEqual([4, 0]);
  });

  it('loses users who stop to match, but not those of an earlier query', () => {
    const selection = createSelection();
    selection.toggle('a');
    selection.leaveQuery();
    selection.toggle('b');
    selection.setMatching('a', false);
    selection.setMatching('b', false);
    expect([...selection.ids]).toEqual(['a']);
  });

  it('cannot have all while the list shows another query', () => {
    let isShown = false;
    const selection = createSelection(() => isShown);
    selection.selectAll();
    expect([selection.isAll, selection.maySelectAll]).toEqual([false, false]);
    isShown = true;
    selection.selectAll();
    expect(selection.isAll).toBe(true);
  });

  it('has all users that match, except those that were toggled', () => {
    const selection = createSelection();
    selection.toggle('a');
    selection.selectAll();
    expect([selection.has('x'), selection.ids.size, selection.count(10), selection.count(undefined)]).toEqual([
      true,
      0,
      10,
      undefined,
    ]);
    selection.toggle('b');
    selection.toggleRange(['c', 'd'], false);
    selection.toggleRange(['d'], true);
    expect([[...selection.excluded], selection.has('b'), selection.count(10)]).toEqual([['b', 'c'], false, 8]);
    selection.selectAll();
    expect([selection.has('b'), selection.excluded.size]).toEqual([true, 0]);
    selection.clear();
    expect([selection.isEmpty, selection.has('x')]).toEqual([true, false]);
  });

  it('keeps single users for another query, and knows which they are, but not all that match', () => {
    const selection = createSelection();
    selection.toggleRange(['a', 'b'], true);
    selection.leaveQuery();
    selection.toggle('c');
    expect([[...selection.ids], [...selection.earlier]]).toEqual([
      ['a', 'b', 'c'],
      ['a', 'b'],
    ]);
    selection.toggle('a');
    expect([...selection.earlier]).toEqual(['b']);
    selection.toggle('a');
    expect([...selection.earlier]).toEqual(['b']);
    selection.selectAll();
    expect(selection.earlier.size).toBe(0);
    selection.leaveQuery();
    expect(selection.isEmpty).toBe(true);
  });

  it.each([false, true])('forgets deleted users (all selected: %s), and does not change earlier sets', (all) => {
    const selection = createSelection();
    if (all) selection.selectAll();
    selection.toggle('a');
    selection.toggle('b');
    const before = all ? selection.excluded : selection.ids;
    selection.forget(['a', 'x']);
    expect([...(all ? selection.excluded : selection.ids)]).toEqual(['b']);
    expect([...before]).toEqual(['a', 'b']);
  });
});
