/** Tests that the server's Link header names the page's script and its first call. */
import { describe, expect, it } from 'vitest';
import { allPeople } from '../../web/address/route.js';
import { firstUsersQuery } from '../../web/calls/first-users.js';
import { listUsersMethod } from '../../web/calls/json-methods.js';
import { pageSize } from '../../web/list/page-loader.js';
import { startTestApp } from '../support/app.js';
import { browserMissing } from './browser.js';
import { useSite } from './site.js';

it('the server names the script and the call that the page needs first, so that the browser requests them early', async () => {
  await using app = await startTestApp();
  await app.client.createUser({ user: { firstName: 'First', lastName: 'User', email: 'first@example.com' } });
  const { query, filter, orderBy } = allPeople;
  const path = `/users.v1.UserService/ListUsers${firstUsersQuery({ query, filter, orderBy, pageSize })}`;
  const page = await fetch(app.http);
  const [, script = ''] = /<script type="module"[^>]+src="([^"]+)"/.exec(await page.text()) ?? [];
  // The first one gets the connection that the browser already has.
  expect(page.headers.get('link')).toBe(
    `<${script}>; rel=modulepreload; crossorigin, <${path}>; rel=preload; as=fetch; crossorigin`,
  );
  expect((await fetch(new URL(script, app.http))).headers.get('content-type')).toMatch('javascript');
  const answer = await fetch(app.http + path);
  const { users } = listUsersMethod.decode(new Uint8Array(await answer.arrayBuffer()));
  expect(users.map(({ email }) => email)).toEqual(['first@example.com']);
  expect(firstUsersQuery({ query: 'first', filter, orderBy, pageSize })).toBeUndefined();
});

describe.skipIf(browserMissing !== undefined)('a page with another list', () => {
  const site = useSite();

  it.each(['#query=first', '#filter=email != "x"', '#order_by=email'])(
    'does not make the browser warn that the first call is unused: %s',
    async (hash) => {
      const { page, expectNoFaults } = await site.open(hash);
      await page.getByText(/No matches|No users yet/).waitFor();
      // Chromium warns three seconds after the page has loaded.
      await page.waitForTimeout(4_000);
      expectNoFaults();
    },
  );
});
