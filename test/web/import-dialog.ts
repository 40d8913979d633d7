/** The import's dialog, as tests see it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll } from 'vitest';

export const dialog = (page: Page): Locator => page.getByRole('dialog');
export const button = (page: Page, name: string): Locator => dialog(page).getByRole('button', { name, exact: true });

/** The numbers that the dialog shows, by their names. */
export async function counts(page: Page): Promise<Record<string, string>> {
  const names = await dialog(page).locator('.counts dt').allTextContents();
  const values = await dialog(page).locator('.counts dd').allTextContents();
  return Object.fromEntries(names.map((name, at) => [name, values[at] ?? '']));
}

/** Makes a temporary folder for the tests of a file or a `describe`. Returns a function that chooses a CSV file in the dialog. */
export function useCsvFiles(): (page: Page, text: string) => Promise<void> {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'roster-web-'));
  });
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true });
  });
  return async (page, text) => {
    const file = path.join(folder, 'people.csv');
    await writeFile(file, text);
    await dialog(page).getByLabel('CSV file').setInputFiles(file);
  };
}
