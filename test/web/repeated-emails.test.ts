/** Tests which emails of a file are the same, and how an import says so. */
import { beforeEach, describe, expect, it } from 'vitest';
import { createRepeatedEmails } from '../../web/import/repeated-emails.js';
import { emailKey } from '../../web/text/email-key.js';
import { browserMissing } from './browser.js';
import { button, counts, dialog, useCsvFiles } from './import-dialog.js';
import { useSite } from './site.js';

const sameEmails = [
  ['ada@example.com', 'ADA@Example.com'],
  ['u\u0308@example.com', 'Ü@example.com'],
  ['bücher@bücher.de', 'BÜCHER@xn--bcher-kva.de'],
  ['eva@strasse.de', 'eva@Straße.de'],
] as const;

describe('emails that are in more than one row', () => {
  it('are found without regard to case and to the form of the domain', () => {
    for (const [a, b] of sameEmails) expect(emailKey(a)).toBe(emailKey(b));
    expect(emailKey(' ada@example.com')).toBe(emailKey('ada@example.com'));
    expect(emailKey('ada@example.com')).not.toBe(emailKey('ada@example.org'));
    expect(emailKey('é@example.com')).not.toBe(emailKey('e@example.com'));
  });

  it('are counted once each, with the rows of the first', () => {
    const found = createRepeatedEmails();
    for (const [index, email] of ['b@x.de', '', 'a@x.de', 'A@x.de', 'b@x.de', '', 'a@X.de'].entries()) {
      found.add(index + 2, email);
    }
    expect(found.result()).toEqual({
      emails: 2,
      first: { email: 'A@x.de', rows: [4, 5, 8], hasMore: false },
      isCut: false,
    });
    for (let row = 9; row < 20; row++) found.add(row, 'a@x.de');
    expect(found.result().first).toEqual({ email: 'A@x.de', rows: [4, 5, 8, 9, 10], hasMore: true });
  });

  it('are not found after a number of rows, so that the memory is bounded', () => {
    const found = createRepeatedEmails(2);
    for (const [index, email] of ['a@x.de', 'b@x.de', 'a@x.de'].entries()) found.add(index, email);
    expect(found.result()).toEqual({ emails: 0, first: undefined, isCut: true });
  });
});

describe.skipIf(browserMissing !== undefined)('a file with an email in more than one row', () => {
  const site = useSite();
  const choose = useCsvFiles();

  beforeEach(site.clear);

  const others = sameEmails.slice(1).flat();
  const rows = [
    ',a@example.com,',
    'One,a@example.com,Oslo',
    'Two,A@example.com,',
    ...others.map((email) => `X,${email},`),
  ];

  it.each([
    ['Reject the row', 'The other rows with it are rejected.', { Created: '4', Rejected: '5' }, 'One Oslo'],
    ['Skip the row', 'The other rows with it are skipped', { Created: '4', Skipped: '4', Rejected: '1' }, 'One Oslo'],
    [
      'Update the user who has the email',
      'Later rows overwrite the values of earlier rows.',
      { Created: '4', Updated: '4', Rejected: '1' },
      'Two Oslo',
    ],
  ])('is named before the import, with what happens: %s', async (choice, text, result, user) => {
    const { page, expectAccessible, expectNoFaults } = await site.open('#dialog=import');
    await choose(page, `first_name,email,attributes.city\n${rows.join('\n')}\n`);
    await dialog(page).getByLabel('If an email is taken').selectOption(choice);
    await button(page, 'Check').click();
    const notice = dialog(page).locator('.repeated');
    await notice
      .getByText(
        '4 emails are in more than one row, such as a@example.com in rows 1 (line 2), 2 (line 3) and 3 (line 4).',
      )
      .waitFor();
    await notice.getByText(text).waitFor();
    await expectAccessible();
    await dialog(page)
      .getByRole('button', { name: /^Import/ })
      .click();
    await dialog(page).getByText('The import is complete').waitFor();
    expect(await counts(page)).toMatchObject(result);
    expect(await dialog(page).getByText('Another user has this email.').count()).toBe(0);
    const users = await Array.fromAsync(site.app.client.exportAllUsers());
    expect(users.map(({ firstName, attributes }) => `${firstName} ${attributes?.city ?? ''}`)).toContain(user);
    expectNoFaults();
  });

  it('can be imported, and one without such emails has no notice', async () => {
    const { page } = await site.open('#dialog=import');
    await choose(page, 'first_name,email\nA,a@example.com\nB,A@example.com\n');
    await dialog(page).getByLabel('If an email is taken').selectOption('Skip the row');
    await button(page, 'Check').click();
    await dialog(page).getByText('All rows can be imported, but some rows have the same email.').waitFor();
    await dialog(page)
      .getByText('One email is in more than one row: A@example.com in rows 1 (line 2) and 2 (line 3).')
      .waitFor();
    await button(page, 'Back').click();
    await dialog(page).getByLabel('CSV file').waitFor({ state: 'detached' });
    await button(page, 'Another file').click();
    await choose(page, 'first_name,email\nA,a@example.com\nB,b@example.com\n');
    await button(page, 'Check').click();
    await dialog(page).getByText('All rows can be imported.').waitFor();
    expect(await dialog(page).locator('.repeated').count()).toBe(0);
  });
});
