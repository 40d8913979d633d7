/** Measures the page for browsers in Chromium: the time until the first rows on a slow network, and frames while scrolling. */
import { type Browser, type CDPSession, chromium, type Page } from 'playwright-core';
import { chromiumFlags, chromiumMissing, chromiumPath } from '../chromium.js';
import { formatNumber } from '../report.js';
import { type Numbers, openDirectory, type Results, type Scenario } from '../scenario.js';
import { quantile } from '../service.js';
import { startSlowNetwork } from '../slow-network.js';

const viewport = { width: 1280, height: 800 };
const usersMax = 1_000_000;
const cpuSlowdown = 4;
const loadsPerRound = 5;

const slow = { what: 'first rows, Slow 4G and CPU ÷ 4' };
const fast = { what: 'first rows, no limits' };
const wheel = { what: 'scrolling 3,000 px a second' };
const sweep = { what: 'scrolling through all rows in 20 s' };

export const page: Scenario = {
  name: 'page',
  title: 'The page for browsers',
  about:
    'Chromium without a GPU, 1280 × 800, with an empty cache. "First rows" is the time from the navigation until rows are shown, with a million ' +
    `users; "shell" is the first paint. They are the medians of ${loadsPerRound} loads. Slow 4G is that of Lighthouse (150 ms, 1.6 Mbit/s), ` +
    'made by a proxy in front of the service. Frames are the times between animation frames in a list of 100,000 users.',

  async open(bench) {
    if (chromiumMissing !== undefined) {
      const reason = `Not measured: ${chromiumMissing}.`;
      return { cases: [], columns: [], report: () => ({ sentences: [reason] }), async [Symbol.asyncDispose]() {} };
    }
    await using cleanUp = new AsyncDisposableStack();
    const million = cleanUp.use(await openDirectory(bench, 'page', bench.isQuick ? bench.users : usersMax));
    const list = await bench.shared();
    const network = cleanUp.use(await startSlowNetwork(million.service.http));
    const browser = await chromium.launch({ executablePath: chromiumPath, headless: true, args: chromiumFlags });
    cleanUp.defer(() => browser.close());
    const owned = cleanUp.move();
    const scrolled = list.service.http;
    return {
      cases: [
        { labels: slow, measure: () => measureLoads(browser, network.address, cpuSlowdown) },
        { labels: fast, measure: () => measureLoads(browser, million.service.http, 1) },
        { labels: wheel, measure: () => measureFrames(browser, scrolled, () => ({ px: 30_000, speed: 3000 })) },
        {
          labels: sweep,
          measure: () => measureFrames(browser, scrolled, (px) => ({ px, speed: Math.round(px / 20) })),
        },
      ],
      columns: [
        { name: 'shellMs', heading: 'shell ms' },
        { name: 'rowsMs', heading: 'first rows ms', spread: true },
        { name: 'frameP50Ms', heading: 'frame p50 ms', digits: 1 },
        { name: 'frameP95Ms', heading: 'frame p95 ms', digits: 1, spread: true },
        { name: 'frameMaxMs', heading: 'longest frame ms' },
      ],
      report: (results: Results) => ({
        sentences: [
          `On Slow 4G with a quarter of the CPU, rows are shown after ${formatNumber(results.median(slow, 'rowsMs') / 1000, 2)} s (target: 1.5 s).`,
          `While scrolling, the 95th percentile of frames is ${formatNumber(results.median(wheel, 'frameP95Ms'), 1)} ms, and ${formatNumber(results.median(sweep, 'frameP95Ms'), 1)} ms through all rows (target: 32 ms).`,
        ],
      }),
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  },
};

interface Load {
  readonly shellMs: number;
  readonly rowsMs: number;
}

async function measureLoads(browser: Browser, address: string, slowdown: number): Promise<Numbers> {
  const loads: Load[] = [];
  for (let count = 0; count < loadsPerRound; count++) {
    await using opened = await openPage(browser, slowdown);
    await opened.page.addInitScript(recordFirstRows);
    await opened.page.goto(`http://${address}/`, { waitUntil: 'commit' });
    loads.push(await opened.page.evaluate<Load>(readTimes));
  }
  const median = (values: readonly number[]) => quantile(values, 0.5);
  return { shellMs: median(loads.map(({ shellMs }) => shellMs)), rowsMs: median(loads.map(({ rowsMs }) => rowsMs)) };
}

/** `gesture` returns how far and how fast to scroll in a list of a given height. */
async function measureFrames(
  browser: Browser,
  address: string,
  gesture: (listPx: number) => { readonly px: number; readonly speed: number },
): Promise<Numbers> {
  await using opened = await openPage(browser, 1);
  const { page: tab, debug } = opened;
  await tab.goto(`http://${address}/`);
  await tab.locator('[data-id]').first().waitFor();
  await tab.getByText('Live', { exact: true }).waitFor();
  const { px, speed } = gesture(await tab.evaluate<number>(`document.querySelector('[role=grid]').scrollHeight`));
  await tab.evaluate(recordFrames);
  const scroll = { x: 600, y: 500, yDistance: -px, speed, gestureSourceType: 'mouse' as const };
  await debug.send('Input.synthesizeScrollGesture', scroll);
  const frames = await tab.evaluate<number[]>('frames');
  const scrolledPx = await tab.evaluate<number>(`document.querySelector('[role=grid]').scrollTop`);
  if (scrolledPx < px * 0.99) throw new Error(`The list scrolled by ${scrolledPx} px and not by ${px}.`);
  return { frameP50Ms: quantile(frames, 0.5), frameP95Ms: quantile(frames, 0.95), frameMaxMs: Math.max(...frames) };
}

// A timer that an animation frame starts runs after this frame is painted.
const recordFirstRows = `
  const observer = new MutationObserver(() => {
    if (document.querySelector('[data-id]') === null) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => (globalThis.rowsMs = performance.now())));
  });
  observer.observe(document, { childList: true, subtree: true });`;

const readTimes = `
  new Promise((resolve) => {
    const look = () => {
      const [paint] = performance.getEntriesByName('first-contentful-paint');
      if (globalThis.rowsMs === undefined || paint === undefined) setTimeout(look, 50);
      else resolve({ shellMs: paint.startTime, rowsMs });
    };
    look();
  })`;

const recordFrames = `
  globalThis.frames = [];
  let lastMs;
  const onFrame = (nowMs) => {
    if (lastMs !== undefined) frames.push(nowMs - lastMs);
    lastMs = nowMs;
    requestAnimationFrame(onFrame);
  };
  requestAnimationFrame(onFrame);`;

interface OpenPage extends AsyncDisposable {
  readonly page: Page;
  readonly debug: CDPSession;
}

/** Opens a page with an empty cache. */
async function openPage(browser: Browser, slowdown: number): Promise<OpenPage> {
  const context = await browser.newContext({ viewport, locale: 'en-GB' });
  const opened = await context.newPage();
  const debug = await context.newCDPSession(opened);
  await debug.send('Emulation.setCPUThrottlingRate', { rate: slowdown });
  return { page: opened, debug, [Symbol.asyncDispose]: () => context.close() };
}
