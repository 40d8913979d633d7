/** Tests the page's metrics view in a real browser, against the whole application. */
import { describe, expect, it, onTestFinished } from 'vitest';
import { browserMissing, type TestPage } from './browser.js';
import { useSite } from './site.js';

const pollTimeout = { timeout: 30_000 };
// The page requests the metrics so often.
const intervalMs = 2_000;
// The browser's own console messages about failed requests.
const connectionLost = /Failed to load resource|ERR_/;

describe.skipIf(browserMissing !== undefined)('metrics', () => {
  const site = useSite();

  const open = () => site.open('#view=metrics');

  /** Opens it with a clock that the test can move forward. */
  async function openWithClock(): Promise<TestPage> {
    const opened = await site.open('openapi.json');
    await opened.page.clock.install();
    await opened.page.goto(`${site.app.http}/#view=metrics`);
    const memory = opened.page.getByRole('img', { name: /^Memory/ });
    await expect
      .poll(async () => {
        await opened.page.clock.runFor(intervalMs);
        return memory.count();
      }, pollTimeout)
      .toBe(1);
    return opened;
  }

  /** Sends calls until the test ends. */
  function keepCalling(): void {
    const timer = setInterval(() => {
      for (let at = 0; at < 5; at++) site.app.client.listUsers({ pageSize: 1 }).catch(() => {});
      site.app.client.getUser({ id: '01a20392-3534-77a3-801a-b6d8eed5a458' }).catch(() => {});
    }, 50);
    onTestFinished(() => clearInterval(timer));
  }

  it('shows the calls of other clients, as lines and as text', async () => {
    keepCalling();
    const { page, expectNoFaults } = await open();
    const calls = page.getByRole('img', { name: /^Calls per second/ });
    const now = async () =>
      /now All ([\d.,]+), Failed ([\d.,]+)/.exec((await calls.getAttribute('aria-label', pollTimeout)) ?? '');
    await expect.poll(async () => Number((await now())?.[1]), pollTimeout).toBeGreaterThan(3);
    await expect.poll(async () => Number((await now())?.[2]), pollTimeout).toBeGreaterThan(0);
    await expect
      .poll(() => page.getByRole('img', { name: /^Latency/ }).getAttribute('aria-label'), pollTimeout)
      .toMatch(/now p50 [\d.]+ m?s, p95 [\d.]+ m?s/);
    await expect
      .poll(() => page.getByRole('img', { name: /^Calls per statement/ }).getAttribute('aria-label'), pollTimeout)
      .toMatch(/get \d/);
    await expect
      .poll(() => page.getByRole('img', { name: /^Watchers/ }).getAttribute('aria-label'), pollTimeout)
      .toMatch(/now 1/);
    await expect.poll(() => calls.locator('polyline').count(), pollTimeout).toBe(2);
    await page.getByText('Show as a table').click();
    await expect.poll(() => page.getByRole('table').getByRole('row').count(), pollTimeout).toBeGreaterThan(1);
    expectNoFaults();
  });

  it('opens at its old address, too, and explains each chart', async () => {
    const { page, expectNoFaults } = await site.open('#view=activity');
    const charts = page.getByRole('main', { name: 'Metrics' }).locator('.chart');
    await charts.first().waitFor();
    const hints = await charts.evaluateAll((all) =>
      all.map((chart) => chart.querySelector('h3 + p')?.textContent ?? ''),
    );
    expect(new Set(hints).size).toBe(8);
    expect(hints).toContain('How many calls share one SQL statement');
    await expect.poll(() => page.title(), pollTimeout).toBe('Metrics · Roster');
    expectNoFaults();
  });

  it('draws the first values inside of their charts', async () => {
    const { page, expectNoFaults } = await site.open('openapi.json');
    let calls = 0;
    // Two responses make one value for each line.
    await page.route('**/metrics', async (route) => {
      if (++calls <= 2) await route.continue();
    });
    await page.goto(`${site.app.http}/#view=metrics`);
    const lines = page.locator('polyline');
    await lines.first().waitFor({ state: 'attached' });
    const points = await lines.evaluateAll((all) => all.map((line) => line.getAttribute('points') ?? ''));
    const places = points.flatMap((text) => text.split(' ').map((point) => Number(point.split(',')[0])));
    expect(Math.min(...places)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...places)).toBeLessThanOrEqual(300);
    expectNoFaults();
  });

  it('shows the indexes for lists, and how often they are used', async () => {
    const { page, expectNoFaults } = await open();
    const row = page.getByRole('row', { name: /users_last_name_id/ });
    await expect
      .poll(() => row.textContent(), pollTimeout)
      .toBe('Lists by last name users_last_name_idNot needed yet––');
    await site.app.database.query('create index users_last_name_id on users (last_name, id)');
    await site.app.database.query('set enable_seqscan = off; select from users order by last_name, id limit 1');
    await expect
      .poll(() => row.textContent(), pollTimeout)
      .toMatch(/^Lists by last name users_last_name_idExists[\d.]+ kB[1-9]\d*$/);
    await site.app.database.query('drop index users_last_name_id');
    expectNoFaults();
  });

  it('says that it cannot read the metrics, and continues when it can', async () => {
    const { page, expectNoFaults } = await openWithClock();
    const nextSample = () => page.clock.runFor(intervalMs);
    await page.route('**/metrics', (route) => route.abort('connectionrefused'));
    const problem = page.getByText('Cannot reach the server’s metrics');
    await nextSample();
    await problem.waitFor();
    for (const [answer, text] of [
      [{ status: 500, body: 'no' }, 'The server returned no metrics (HTTP 500).'],
      [{ status: 200, contentType: 'text/html', body: '<h1>Sign in</h1>' }, 'The response did not come from Roster'],
    ] as const) {
      await page.unroute('**/metrics');
      await page.route('**/metrics', (route) => route.fulfill(answer));
      await nextSample();
      await page.getByText(text).waitFor();
    }
    await page.unroute('**/metrics');
    await page.route('**/metrics', (route) => route.abort('connectionrefused'));
    await nextSample();
    await problem.waitFor();
    await page.getByRole('img', { name: /^Memory/ }).waitFor();
    await page.unroute('**/metrics');
    await nextSample();
    await problem.waitFor({ state: 'detached' });
    expectNoFaults(connectionLost);
  });

  it('sends no requests while the page is hidden', async () => {
    const { page } = await openWithClock();
    let asked = 0;
    page.on('request', (request) => {
      if (request.url().endsWith('/metrics')) asked++;
    });
    const become = (state: string) =>
      page.evaluate((visibility) => {
        Object.defineProperty(document, 'visibilityState', { value: visibility, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
      }, state);
    await become('hidden');
    const before = asked;
    await page.clock.runFor(5 * intervalMs);
    expect(asked - before).toBeLessThanOrEqual(1);
    await become('visible');
    await page.clock.runFor(intervalMs);
    await expect.poll(() => asked - before, pollTimeout).toBeGreaterThan(1);
  });
});
