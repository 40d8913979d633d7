/** The progress of a long command: a bar on a terminal, else plain lines. */
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { type Progress, showProgress } from '../../src/cli/progress.js';
import type { Terminal } from '../../src/cli/terminal.js';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout', 'performance', 'Date'] });
});
afterEach(() => {
  vi.useRealTimers();
});

function showOn(isTTY: boolean, progress: Progress, from?: Pick<Progress, 'rows' | 'position'>) {
  const stderr = Object.assign(new PassThrough(), { isTTY });
  const shown = showProgress({ stderr } as unknown as Terminal, () => progress, from);
  return { shown, written: () => String(stderr.read() ?? '') };
}

it('prints a line every five seconds and at the end, with the rate and the time left', () => {
  const progress = { activity: 'Importing', rows: 0, position: 0, total: 1000 as number | undefined };
  const { shown, written } = showOn(false, progress);
  Object.assign(progress, { rows: 5000, position: 100 });
  vi.advanceTimersByTime(5_000);
  expect(written()).toBe('Importing: 10% | 5,000 rows | 1,000/s | 45s left\n');
  Object.assign(progress, { rows: 50_000, position: 1000 });
  vi.advanceTimersByTime(3_000);
  shown[Symbol.dispose]();
  expect(written()).toBe('Importing: 100% | 50,000 rows | 6,250/s | 8s\n');
  vi.advanceTimersByTime(60_000);
  expect(written()).toBe('');
});

it('counts the rate from where a resumed command began, and works without a total', () => {
  const progress = { activity: 'Exporting', rows: 100, position: 100, total: undefined };
  const { shown, written } = showOn(false, progress, { rows: 100, position: 100 });
  progress.rows = 1100;
  vi.advanceTimersByTime(90_000);
  shown[Symbol.dispose]();
  expect(written()).toMatch(/Exporting: 1,100 rows \| 11\/s \| 1m 30s\n$/);
});

it('prints nothing for a command that ends at once', () => {
  const { shown, written } = showOn(false, { activity: 'Importing', rows: 3, position: 9, total: 9 });
  shown[Symbol.dispose]();
  expect(written()).toBe('');
});

it('shows a bar on a terminal, removes it at the end, and changes no setting of the terminal', () => {
  const progress = { activity: 'Importing', rows: 0, position: 0, total: 1000 };
  const { shown, written } = showOn(true, progress);
  Object.assign(progress, { rows: 2000, position: 500 });
  vi.advanceTimersByTime(2_100);
  const text = written();
  expect(text).toContain('Importing [============------------] 50% | 2,000 rows | 1,000/s | 2s left');
  shown[Symbol.dispose]();
  // It erases its line. It never hides the cursor or changes the line wrap.
  expect((text + written()).endsWith('\u001b[2K')).toBe(true);
  expect(text).not.toContain('\u001b[?');
});
