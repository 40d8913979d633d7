/**
 * A real Chromium for tests of the page: opens pages, records their faults, runs axe.
 *
 * A page that logs an error or violates its Content-Security-Policy fails `expectNoFaults`.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { RunOnly } from 'axe-core';
import { type Browser, type BrowserContextOptions, type ConsoleMessage, chromium, type Page } from 'playwright-core';
import { expect, onTestFinished } from 'vitest';
import { chromiumFlags, chromiumMissing, chromiumPath } from '../../bench/chromium.js';

/** Why tests of the page cannot run, or undefined: `describe.skipIf(browserMissing !== undefined)`. */
export const browserMissing = chromiumMissing;
if (browserMissing !== undefined) console.warn(`Skipping the tests of the page: ${browserMissing}.`);

export interface TestBrowser extends AsyncDisposable {
  /** Opens a page in a new, empty profile, which closes when the test ends. `theme` is the system's theme. */
  open(url: string, options?: OpenOptions): Promise<TestPage>;
}

export interface OpenOptions {
  readonly theme?: 'light' | 'dark';
  readonly width?: number;
  readonly height?: number;
  readonly context?: BrowserContextOptions;
  /** Another origin that the page may send requests to. */
  readonly mayRequest?: string;
}

/** Forced colours are those that users choose in the system, for example for a higher contrast. */
export type Look = 'light' | 'dark' | 'forced';

export interface TestPage {
  readonly page: Page;
  /** Errors on the console, uncaught exceptions, requests to other hosts, and violations of the policy. */
  readonly faults: string[];
  /** Fails if there was a fault. `but` matches faults that the test causes. */
  expectNoFaults(but?: RegExp): void;
  /** Fails if axe finds violations of WCAG 2.2 AA or of its best practices. */
  expectAccessible(): Promise<void>;
  /** The same in several looks. The page keeps the last one. */
  expectAccessibleIn(looks: readonly Look[], onLook?: (look: Look) => Promise<unknown>): Promise<void>;
}

export async function startBrowser(): Promise<TestBrowser> {
  const browser: Browser = await chromium.launch({ executablePath: chromiumPath, headless: true, args: chromiumFlags });
  return {
    async open(url, { theme = 'light', width = 1280, height = 800, context = {}, mayRequest } = {}) {
      const own = await browser.newContext({
        viewport: { width, height },
        colorScheme: theme,
        locale: 'en-GB',
        timezoneId: 'UTC',
        // Rendering animations takes a lot of the tests' time, and waiting for their ends too.
        reducedMotion: 'reduce',
        ...context,
      });
      onTestFinished(() => own.close());
      const page = await own.newPage();
      const faults: string[] = [];
      page.on('console', (message) => {
        if (isExpected(message)) return;
        if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text());
      });
      page.on('pageerror', (error) => faults.push(error.stack ?? String(error)));
      page.on('request', (request) => {
        const { origin } = new URL(request.url());
        const isForeign = origin !== new URL(url).origin && origin !== mayRequest;
        if (isForeign && !/^(?:data|blob):/.test(request.url()))
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
        expectAccessibleIn: (looks, onLook = async () => {}) => expectAccessibleIn(page, looks, onLook),
      };
    },
    async [Symbol.asyncDispose]() {
      await browser.close();
    },
  };
}

/** From now on, frames and timers are late, as on a busy machine. So effects of Preact that wait for a frame are too. */
export async function delayFrames(page: Page): Promise<void> {
  await page.evaluate(() => {
    const later = window.setTimeout.bind(window);
    window.setTimeout = ((run: () => void, ms = 0) => later(run, Math.max(ms, 1_000))) as typeof window.setTimeout;
    window.requestAnimationFrame = (run) => later(run, 1_000);
  });
}

/** The browser's message about a call that Roster answered with an error, because the test checks what the page shows. */
function isExpected(message: ConsoleMessage): boolean {
  const text = message.text();
  return (
    /the server responded with a status of [45]\d\d/.test(text) &&
    new URL(message.location().url).pathname.startsWith('/users.v1.UserService/')
  );
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const allRules: RunOnly = {
  type: 'tag',
  values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
};
const rulesOfColours: RunOnly = { type: 'rule', values: ['color-contrast', 'link-in-text-block', 'target-size'] };

const media = {
  light: { colorScheme: 'light', forcedColors: 'none' },
  dark: { colorScheme: 'dark', forcedColors: 'none' },
  forced: { colorScheme: 'dark', forcedColors: 'active' },
} as const;

async function expectAccessible(page: Page, rules = allRules): Promise<void> {
  // Ends animations, except for spinners, which never end.
  await page.evaluate(() => {
    for (const animation of document.getAnimations()) {
      if (animation.effect?.getComputedTiming().endTime !== Number.POSITIVE_INFINITY) animation.finish();
    }
  });
  // The debugger evaluates it, so the page's policy does not apply.
  if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axeSource);
  const found = await page.evaluate(async (runOnly) => {
    const { axe } = globalThis as unknown as { axe: typeof import('axe-core') };
    // Otherwise axe also describes each element that passes a rule.
    const { violations } = await axe.run(document, { runOnly, resultTypes: ['violations'] });
    return violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target.join(' ')} ${node.failureSummary}`).join('; ')}`,
    );
  }, rules);
  expect(found).toEqual([]);
}

/** The elements are the same in each look, so the other rules run only once. */
async function expectAccessibleIn(
  page: Page,
  looks: readonly Look[],
  onLook: (look: Look) => Promise<unknown>,
): Promise<void> {
  for (const [index, look] of looks.entries()) {
    await page.emulateMedia(media[look]);
    await expectAccessible(page, index === 0 ? allRules : rulesOfColours);
    await onLook(look);
  }
}
