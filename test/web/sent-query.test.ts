/** Tests what the page sends for a search that was pasted from another program. */
import { describe, expect, it } from 'vitest';
import { sentQuery } from '../../web/text/sent-query.js';

describe('the search that is sent', () => {
  it.each([
    ['Lovelace, Ada', 'Lovelace Ada'],
    ['"Lovelace, Ada" <ada@example.com>', 'Lovelace Ada ada@example.com'],
    ['Ada<ada@example.com>;', 'Ada ada@example.com'],
    ['mailto:ada@example.com', 'ada@example.com'],
    ['<MAILTO:ada@example.com?subject=Hello%20Ada>', 'ada@example.com'],
    [',', ','],
    ['', ''],
    ["O'Brien mailto: e-mailto:x", "O'Brien mailto: e-mailto:x"],
  ])('is for %j %j', (typed, sent) => {
    expect(sentQuery(typed).replaceAll(/ +/g, ' ')).toBe(sent);
  });
});
