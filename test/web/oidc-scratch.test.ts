import { createServer, request } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { startTestApp } from '../support/app.js';
import { startBrowser } from './browser.js';
import { startIssuer, signInAtIssuer } from './issuer.js';

it('signs in', async () => {
  await using issuer = await startIssuer();
  await using app = await startTestApp();
  await using browser = await startBrowser();
  const front = createServer((incoming, response) => {
    const { url = '', method, headers } = incoming;
    if (url === '/sign-in.json') {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ required: true, key: true, oidc: { issuer: issuer.url, client_id: 'roster-page', scope: 'openid profile' } }));
      return;
    }
    const outgoing = request(new URL(url, app.http), { method, headers }, (answer) => {
      const h = { ...answer.headers };
      if (h['content-security-policy']) h['content-security-policy'] = String(h['content-security-policy']).replace("connect-src 'self'", `connect-src 'self' ${issuer.url}`);
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
  const { page, faults } = await browser.open(`${url}#query=ada`);
  try {
    await page.getByRole('button', { name: 'Sign in with' }).waitFor();
    await page.screenshot({ path: '/tmp/roster/scratch/page18/1.png' });
    await page.getByRole('button', { name: 'Sign in with' }).click();
    await signInAtIssuer(page, 'ada');
    await page.waitForURL((u) => u.origin + '/' === url, {timeout: 10000});
    await page.getByText('No matches').waitFor({ timeout: 10000 });
  } finally {
    console.log(page.url(), faults);
    await page.screenshot({ path: '/tmp/roster/scratch/page18/2.png' });
    front.close(); front.closeAllConnections();
  }
  expect(page.url()).toBe(`${url}#query=ada`);
}, 60000);
