/**
 * A real Chromium for tests of the page: opens pages, notes what goes wrong in them, runs axe.
 *
 * A page that logs an error or breaks its Content-Security-Policy is at fault, whatever else it shows: `expectNoFaults`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { expect } from 'vitest';

const executable = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Why no test of the page can run here, or undefined: `describe.skipIf(browserMissing !== undefined)`. */
export const browserMissing: string | undefined = existsSync(executable)
  ? undefined
  : `no Chromium at ${executable}; CHROMIUM may name another one`;
if (browserMissing !== undefined) console.warn(`The page is not tested: ${browserMissing}.`);

// It must call nobody; and it has no GPU, and no sandbox as root.
const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export interface TestBrowser extends AsyncDisposable {
  /** A page of its own, in a profile of its own that is empty. `theme` and a size as somebody's machine has them. */
  open(url: string, options?: OpenOptions): Promise<TestPage>;
}

export interface OpenOptions {
  readonly theme?: 'light' | 'dark';
  readonly width?: number;
  readonly height?: number;
  readonly context?: BrowserContextOptions;
}

export interface TestPage {
  readonly page: Page;
  /** Errors on the console, what was thrown and not caught, requests to another host, and broken policies. */
  readonly faults: string[];
  /** Fails where there was a fault; `but` are those that the test has brought about. */
  expectNoFaults(but?: RegExp): void;
  /** Fails with what axe finds against WCAG 2.2 AA and its best practices. */
  expectAccessible(): Promise<void>;
}

export async function startBrowser(): Promise<TestBrowser> {
  const browser: Browser = await chromium.launch({ executablePath: executable, headless: true, args: flags });
  return {
    async open(url, { theme = 'light', width = 1280, height = 800, context = {} } = {}) {
      const own = await browser.newContext({
        viewport: { width, height },
        colorScheme: theme,
        locale: 'en-GB',
        timezoneId: 'UTC',
        ...context,
      });
      const page = await own.newPage();
      const faults: string[] = [];
      page.on('console', (message) => {
        if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text());
      });
      page.on('pageerror', (error) => faults.push(error.stack ?? String(error)));
      page.on('request', (request) => {
        if (new URL(request.url()).origin !== new URL(url).origin && !/^(?:data|blob):/.test(request.url()))
          faults.push(`A request to another host: ${request.url()}`);
      });
      await page.goto(url);
      return {
        page,
        faults,
        expectNoFaults: (but) => {
          expect(faults.filter((fault) => but === undefined || !but.test(fault))).toEqual([]);
        },
        expectAccessible: () => expectAccessible(page),
      };
    },
    async [Symbol.asyncDispose]() {
      await browser.close();
    },
  };
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

async function expectAccessible(page: Page): Promise<void> {
  // What moves is not yet what it will be; a spinner moves for ever.
  await page.evaluate(() =>
    Promise.allSettled(
      document
        .getAnimations()
        .filter((animation) => animation.effect?.getTiming().iterations !== Number.POSITIVE_INFINITY)
        .map((animation) => animation.finished),
    ),
  );
  // As the debugger evaluates it, which no policy of the page forbids.
  await page.evaluate(axeSource);
  const found = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: typeof import('axe-core') };
    const { violations } = await axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    });
    return violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target.join(' ')} ${node.failureSummary}`).join('; ')}`,
    );
  });
  expect(found).toEqual([]);
}
