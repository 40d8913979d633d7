/** Tests that the server's Link header names the page's first call. */
import { expect, it } from 'vitest';
import { ListUsersResponse } from '../../generated/users/v1/user_service.js';
import { firstUsersQuery } from '../../web/first-users.js';
import { pageSize } from '../../web/page-loader.js';
import { allPeople } from '../../web/route.js';
import { startTestApp } from '../support/app.js';

it('the server names the call that the page sends first, so that the browser sends it early', async () => {
  await using app = await startTestApp();
  await app.client.createUser({ user: { firstName: 'First', lastName: 'User', email: 'first@example.com' } });
  const { query, filter, orderBy } = allPeople;
  const path = `/users.v1.UserService/ListUsers${firstUsersQuery({ query, filter, orderBy, pageSize })}`;
  const page = await fetch(app.http);
  expect(page.headers.get('link')).toBe(`<${path}>; rel=preload; as=fetch; crossorigin`);
  const answer = await fetch(app.http + path);
  const { users } = ListUsersResponse.decode(new Uint8Array(await answer.arrayBuffer()));
  expect(users.map(({ email }) => email)).toEqual(['first@example.com']);
  expect(firstUsersQuery({ query: 'first', filter, orderBy, pageSize })).toBeUndefined();
});
