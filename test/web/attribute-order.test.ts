/** Tests that the page orders, divides and searches a list by an attribute as the server does. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { User } from '../../generated/users/v1/user.js';
import { seek } from '../../web/list/seek.js';
import { conditionBefore, conditionFrom, keyBefore, typeGroups } from '../../web/users/order-keys.js';
import { createUserOrder, orderByAttribute, readOrder } from '../../web/users/user-order.js';
import { startTestApp, type TestApp } from '../support/app.js';

const long = 'x'.repeat(100);
const values = [
  ...[false, true, 0, -1.5, 1e21, -1e300, 5e-324, 0.1, 0.2, 10, 9, 12345678901234568],
  ...['', '10', '9', 'a', 'A', 'ä', '\uffee', '😀', 'Zürich', '"', '\\', `${long}b`, `${long}a`, '\u0001'],
  ...[null, [], [1], { b: 1 }, undefined],
];
/** How many users have each value. */
const equal = 4;
const signal = new AbortController().signal;

describe.each(['v', 'a "key" desc', 'in'])('a list by the attribute %j', (key) => {
  let app: TestApp;
  let users: User[];
  const by = orderByAttribute([key]);

  beforeAll(async () => {
    app = await startTestApp();
    await app.client.importAllUsers(
      Array.from({ length: equal * values.length }, (_, index) => {
        const value = values[index % values.length];
        const attributes = value === undefined ? {} : { [key]: value };
        return { firstName: 'Ada', email: `ada.${index}@example.com`, attributes };
      }),
    );
    users = (await app.client.listUsers({ pageSize: 1000 })).users;
  });
  afterAll(() => app[Symbol.asyncDispose]());

  const idsOf = (list: readonly User[]) => list.map(({ id }) => id);
  const inOrder = (orderBy: string) => {
    const { keyOf, compare } = createUserOrder(orderBy);
    return users.toSorted((a, b) => compare(keyOf(a), keyOf(b)));
  };
  const listed = async (orderBy: string, filter = '') =>
    idsOf((await app.client.listUsers({ orderBy, filter, pageSize: 1000 })).users);

  it.each([by, `${by} desc`])('has the order %s of the server', async (orderBy) => {
    expect(readOrder(orderBy)).toEqual({ by, descends: orderBy !== by, keys: [key] });
    expect(await listed(orderBy)).toEqual(idsOf(inOrder(orderBy)));
  });

  it.each([by, `${by} desc`])('is divided before each user in the order %s', async (orderBy) => {
    const sorted = inOrder(orderBy);
    const ids = idsOf(sorted);
    const { keyOf } = createUserOrder(orderBy);
    for (const [index, user] of sorted.entries()) {
      if (index % 3 !== 0) continue;
      expect(await listed(orderBy, conditionFrom(orderBy, keyOf(user)))).toEqual(ids.slice(index));
      expect(await listed(orderBy, conditionBefore(orderBy, keyOf(user)))).toEqual(ids.slice(0, index));
    }
  });

  it.each([by, `${by} desc`])('has each user in one group of the order %s', async (orderBy) => {
    const ids: string[] = [];
    for (const group of typeGroups(orderBy)) ids.push(...(await listed(orderBy, group)));
    expect(ids).toEqual(idsOf(inOrder(orderBy)));
  });

  it.each([by, `${by} desc`])('finds any number of users before the end, in the order %s', async (orderBy) => {
    const sorted = inOrder(orderBy);
    const { keyOf, compare } = createUserOrder(orderBy);
    const first = sorted[0] as User;
    for (const fromEnd of [1, 5, 40, 60, 80, sorted.length - 1]) {
      const place = await seek({
        directory: app.client,
        query: { query: '', filter: '', orderBy },
        ...{ low: keyBefore(keyOf(first)), high: undefined, count: sorted.length, fromEnd, tolerance: 0, signal },
      });
      const at = sorted.findIndex((user) => place !== undefined && compare(keyOf(user), place.key) >= 0);
      expect(place).toMatchObject({ isCounted: true, fromEnd: sorted.length - at });
      // Near the end of a group, users whose values sort alike are left out together.
      expect(Math.abs((place?.fromEnd ?? 0) - fromEnd), String(fromEnd)).toBeLessThanOrEqual(2 * equal);
    }
  });
});

const usersMany = 24_000;

describe('a jump in a long list by an attribute', () => {
  let app: TestApp;

  beforeAll(async () => {
    app = await startTestApp();
    const users = Array.from({ length: usersMany }, (_, index) => ({
      firstName: 'Ada',
      email: `ada.${index}@example.com`,
      attributes: {
        outlier: index === 0 ? 1e12 : index,
        revenue: Math.exp(index / 1_000),
        note: `${'x'.repeat(99)}${String.fromCharCode(0x21 + (index % 90))}${index}`,
      },
    }));
    await app.client.importAllUsers(users);
  });
  afterAll(() => app[Symbol.asyncDispose]());

  it.each([
    ...['attributes.outlier', 'attributes.outlier desc', 'attributes.revenue', 'attributes.revenue desc'],
    ...['attributes.note', 'attributes.note desc'],
  ])('comes near any place in the order %s', async (orderBy) => {
    const { keyOf } = createUserOrder(orderBy);
    const query = { query: '', filter: '', orderBy };
    const { users } = await app.client.listUsers({ orderBy, pageSize: 1 });
    const first = users[0] as User;
    for (const fromEnd of [2_000, 8_000, 14_000, 20_000]) {
      let calls = 0;
      const directory = {
        listUsers(...parameters: Parameters<TestApp['client']['listUsers']>) {
          calls++;
          return app.client.listUsers(...parameters);
        },
      };
      const options = { low: keyBefore(keyOf(first)), high: undefined, count: usersMany, fromEnd, tolerance: 240 };
      const place = await seek({ directory, query, ...options, signal });
      const from = place && conditionFrom(orderBy, place.key);
      const { totalSize } = await app.client.listUsers({ orderBy, filter: from, includeTotalSize: true, pageSize: 1 });
      expect(Number(totalSize)).toBe(place?.fromEnd);
      expect(Math.abs(Number(totalSize) - fromEnd), `${fromEnd}`).toBeLessThan(1_000);
      expect(calls).toBeLessThan(40);
    }
  });
});
