/** The panel of a user, as tests see it, and users for it. */
import type { Locator, Page } from 'playwright-core';
import type { User } from '../../src/client/index.js';
import type { TestApp } from '../support/app.js';

export const panel = (page: Page): Locator => page.getByRole('complementary');
export const field = (page: Page, label: string): Locator =>
  panel(page).getByRole('textbox', { name: label, exact: true });
export const button = (page: Page, name: string): Locator => panel(page).getByRole('button', { name, exact: true });

let count = 0;

/** Creates a user with an email of its own. */
export async function createAda({ client }: TestApp, changes: Partial<User> = {}): Promise<User> {
  const email = `ada${++count}@example.com`;
  const { user } = await client.createUser({ user: { firstName: 'Ada', lastName: 'Lovelace', email, ...changes } });
  if (user === undefined) throw new Error('There is no user in the answer.');
  return user;
}
