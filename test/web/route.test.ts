/** Tests how the page reads its address. */
import { describe, expect, it } from 'vitest';
import { readRoute } from '../../web/address/route.js';

describe('the address', () => {
  it('has the default order if it names a field that the list cannot be ordered by', () => {
    for (const order of ['foo', 'email asc', 'email desc desc', ''])
      expect(readRoute(`#order_by=${order}`).orderBy, order).toBe('create_time desc');
    expect(readRoute('#order_by=email+desc').orderBy).toBe('email desc');
  });

  it('may name a view that is not saved, as a shared link does', () => {
    expect(readRoute('#name=Sailors&query=navy')).toMatchObject({ name: 'Sailors', query: 'navy' });
  });
});
