/** Tests how the page reads its address. */
import { describe, expect, it } from 'vitest';
import { readRoute } from '../../web/address/route.js';

describe('the address', () => {
  it('has the default order if it names a field that the list cannot be ordered by', () => {
    for (const order of ['foo', 'email asc', 'email desc desc', ''])
      expect(readRoute(`#order_by=${order}`).orderBy, order).toBe('create_time desc');
    expect(readRoute('#order_by=email+desc').orderBy).toBe('email desc');
  });

  it.each([
    ['attributes.city desc', 'attributes.city desc'],
    ['attributes["city"]', 'attributes.city'],
    ['attributes.in', 'attributes["in"]'],
    [String.raw`attributes["\ud83d\ude00"].a desc`, 'attributes["😀"].a desc'],
    [String.raw`attributes["a\/b"]`, 'attributes["a/b"]'],
    [String.raw`attributes["\ud800"]`, 'create_time desc'],
    [String.raw`attributes["\u0000"]`, 'create_time desc'],
    ['attributes[city]', 'create_time desc'],
    [`attributes${'.a'.repeat(33)}`, 'create_time desc'],
  ])('with the order %s has the order %s', (text, orderBy) => {
    expect(readRoute(`#${new URLSearchParams({ order_by: text })}`).orderBy).toBe(orderBy);
  });

  it('may name a view that is not saved, as a shared link does', () => {
    expect(readRoute('#name=Sailors&query=navy')).toMatchObject({ name: 'Sailors', query: 'navy' });
  });
});
