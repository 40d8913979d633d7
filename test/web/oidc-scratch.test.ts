import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { startTestApp } from '../support/app.js';
import { startBrowser } from './browser.js';
import { signInAtIssuer, startIssuer } from './issuer.js';

it('signs in', async () => {
  await using issuer = await startIssuer();
  await using app = await startTestApp();
  await using browser = await startBrowser();
  let revoked = '';
  let last = '';
  const front = createServer((incoming, response) => {
    const { url = '', method, headers } = incoming;
    if (url.startsWith('/users') && revoked !== '' && headers.authorization?.slice(-20) === revoked.slice(-20)) {
      response.writeHead(401).end();
      return;
    }
    if (url.startsWith('/users') && headers.authorization) last = headers.authorization;
    if (url === '/sign-in.json') {
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({
          required: true,
          key: true,
          oidc: { issuer: issuer.url, client_id: 'roster-page', scope: 'openid profile' },
        }),
      );
      return;
    }
    const outgoing = request(new URL(url, app.http), { method, headers }, (answer) => {
      const h = { ...answer.headers };
      if (h['content-security-policy'])
        h['content-security-policy'] = String(h['content-security-policy']).replace(
          "connect-src 'self'",
          `connect-src 'self' ${issuer.url}`,
        );
      response.writeHead(answer.statusCode ?? 502, h);
      answer.pipe(response);
    });
    outgoing.on('error', () => response.destroy());
    response.on('close', () => outgoing.destroy());
    incoming.pipe(outgoing);
  });
  front.listen(0, 'localhost');
  await once(front, 'listening');
  const url = `http://localhost:${(front.address() as AddressInfo).port}/`;
  await issuer.allow(url);
  const token = 'x';
  const { page, faults } = await browser.open(`${url}#query=ada`);
  try {
    await page.getByRole('button', { name: 'Sign in with' }).waitFor();
    await page.screenshot({ path: '/tmp/roster/scratch/page18/1.png' });
    await page.getByRole('button', { name: 'Sign in with' }).click();
    await signInAtIssuer(page, 'ada');
    await page.waitForURL((u) => u.origin + '/' === url, { timeout: 10000 });
    await page.getByText('No matches').waitFor({ timeout: 10000 });
    await page.getByRole('banner').getByRole('button', { name: 'New user' }).click();
    await page.getByRole('textbox', { name: 'First name' }).fill('Half a na');
    revoked = last;
    await page.getByRole('textbox', { name: 'Email' }).fill('half@example.com');
    await page.getByRole('dialog').getByRole('button', { name: 'Create' }).click();
    await page.getByText('Sign in again to continue where you were.').waitFor();
    await page.screenshot({ path: '/tmp/roster/scratch/page18/3.png' });
    const popupP = page.waitForEvent('popup');
    await page.getByRole('button', { name: 'Sign in with' }).click();
    const popup = await popupP;
    popup.on('console', (m) => console.log('popup', m.text()));
    popup.on('close', () => console.log('popup closed', popup.url()));
    await page.getByText('Sign in again to continue where you were.').waitFor({ state: 'detached' });
    console.log(
      'signed in again',
      await page
        .getByRole('textbox', { name: 'First name' })
        .inputValue()
        .catch((e) => String(e)),
    );
    await new Promise((r) => setTimeout(r, 1500));
    console.log('closed?', popup.isClosed());
    if (!popup.isClosed()) console.log(popup.url(), await popup.textContent('body'));
    console.log(
      await page.evaluate(() =>
        JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, history.length]),
      ),
    );
  } finally {
    console.log(page.url(), faults);
    await page.screenshot({ path: '/tmp/roster/scratch/page18/2.png' });
    front.close();
    front.closeAllConnections();
  }
  expect(page.url()).toBe(`${url}#query=ada`);
}, 60000);
