/** Tests how an import explains the emails that are taken. */
import { expect, it } from 'vitest';
import { explainProblems } from '../../web/import/import-problems.js';

const inFile = 'Another row of this file has this email.';

it.each([
  ['another row has got the email', ['A@x.org', 'b@x.org', 'a@x.org', 'a@x.org'], [3, 4], [3, 4]],
  ['a user of the directory has the email, and the first row says so', ['b@x.org', 'a@x.org', 'A@x.org'], [2, 3], [3]],
  ['the row is the only one with it', ['a@x.org', 'b@x.org'], [1], []],
])('%s', async (_, emails, rejected, explained) => {
  const rows = emails.map((email, at) => ({ row: at + 1, original: [email] }));
  const problems = rejected.map((row) => ({
    row,
    cells: [emails[row - 1] ?? ''],
    problem: { field: 'email', reason: 'EMAIL_TAKEN' },
  }));
  const columns = [{ name: 'email', field: 'email', isIgnored: false }];
  async function* readFile() {
    yield* rows;
  }
  const texts = await explainProblems(columns, problems, readFile);
  expect([...texts]).toEqual(explained.map((row) => [row, inFile]));
});
