/** The import's dialog, as tests see it. */
import type { Locator, Page } from 'playwright-core';

export const dialog = (page: Page): Locator => page.getByRole('dialog');
export const button = (page: Page, name: string): Locator => dialog(page).getByRole('button', { name, exact: true });

/** The numbers that the dialog shows, by their names. */
export async function counts(page: Page): Promise<Record<string, string>> {
  const names = await dialog(page).locator('.counts dt').allTextContents();
  const values = await dialog(page).locator('.counts dd').allTextContents();
  return Object.fromEntries(names.map((name, at) => [name, values[at] ?? '']));
}
