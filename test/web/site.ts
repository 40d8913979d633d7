/** Starts what most tests of the page need: a browser, an application with a separate database, and pages of it. */
import { afterAll, beforeAll } from 'vitest';
import { startTestApp, type TestApp } from '../support/app.js';
import { type OpenOptions, startBrowser, type TestBrowser, type TestPage } from './browser.js';

export interface Site<App extends TestApp = TestApp> {
  readonly browser: TestBrowser;
  readonly app: App;
  /** Opens the page. `rest` is the end of its address, such as `#query=ada`. */
  open(rest?: string, options?: OpenOptions): Promise<TestPage>;
  /** Removes all users. This is faster than another application, but open pages do not see it. */
  clear(): Promise<void>;
}

/** Starts them before the tests of a block, which share them. */
export function useSite(): Site;
export function useSite<App extends TestApp>(start: () => Promise<App>): Site<App>;
export function useSite(start: () => Promise<TestApp> = startTestApp): Site {
  let browser: TestBrowser | undefined;
  let app: TestApp | undefined;

  beforeAll(async () => {
    browser = await startBrowser();
    app = await start();
  });
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]();
    await app?.[Symbol.asyncDispose]();
  });

  const site: Site = {
    get browser() {
      return started(browser);
    },
    get app() {
      return started(app);
    },
    open: (rest = '', options) => site.browser.open(`${site.app.http}/${rest}`, options),
    async clear() {
      await site.app.database.query('truncate users');
    },
  };
  return site;
}

function started<T>(part: T | undefined): T {
  if (part === undefined) throw new Error('The set-up of the tests has not run.');
  return part;
}
