/** Tests which emails the page reads from a pasted text, and how many fit into a filter. */
import { describe, expect, it } from 'vitest';
import { parseFilter } from '../../src/model/filter.js';
import { emailsIn, filterByEmails, wholeText } from '../../web/filter/emails-in-text.js';

describe('the emails in a text', () => {
  it.each([
    'ada@example.com, grace@example.com',
    'ada@example.com;grace@example.com;',
    'ada@example.com\ngrace@example.com\r\nADA@example.com',
    'Ada Lovelace <ada@example.com>, "Hopper, Grace" <mailto:grace@example.com?subject=Hello>',
    "'ada@example.com' (Ada): grace@example.com.",
  ])('are separate in %j', (text) => {
    expect(emailsIn(text)).toEqual(['ada@example.com', 'grace@example.com']);
  });

  it.each(['', '@ada @grace', 'ada@', 'a@b@c', 'Lovelace, Ada'])('are missing in %j', (text) => {
    expect(emailsIn(text)).toEqual([]);
  });
});

describe('a filter by emails', () => {
  const many = Array.from({ length: 200 }, (_, index) => `person-${index}@example.com`);

  it('keeps the other conditions', () => {
    expect(filterByEmails(['a@x.com', "o'b@x.com"], 'last_name == "x"')).toEqual({
      filter: `last_name == "x" && email in ["a@x.com", "o'b@x.com"]`,
      count: 2,
    });
  });

  it('has as many as there is room for', () => {
    const { filter, count } = filterByEmails(many, '');
    expect(() => parseFilter(filter)).not.toThrow();
    expect(filter.endsWith(`"person-${count - 1}@example.com"]`)).toBe(true);
    expect(count).toBeGreaterThan(75);
    const other = `last_name == "${'x'.repeat(1_000)}"`;
    expect(filterByEmails(many, other).count).toBeLessThan(count);
    const full = `last_name == "${'x'.repeat(2_000)}"`;
    expect(filterByEmails(many, full)).toEqual({ filter: full, count: 0 });
  });
});

describe('the whole text of a search', () => {
  it('is the paste that it begins with, and otherwise the search', () => {
    expect(wholeText('a@x.comb@x.c', 'a@x.com\nb@x.com\n')).toBe('a@x.com\nb@x.com\n');
    expect(wholeText('a@x.com b@y', 'a@x.com\nb@x.com')).toBe('a@x.com b@y');
    expect(wholeText('ada', '')).toBe('ada');
  });
});
