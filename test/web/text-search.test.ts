/** Tests in which attributes a text is searched, and what happens if a filter has no room for all of them. */
import { describe, expect, it } from 'vitest';
import { User } from '../../generated/users/v1/user.js';
import { parseFilter } from '../../src/model/filter.js';
import type { Chip } from '../../web/filter/filter-chips.js';
import { writeChip, writeChips } from '../../web/filter/filter-chips.js';
import { chipTexts } from '../../web/filter/filter-fields.js';
import { readChips } from '../../web/filter/read-chips.js';
import { roomBeside, searchedBy, searchIn, searchOfRest, unsearchedPaths } from '../../web/filter/text-search.js';
import { sampleOf, searchedPaths } from '../../web/filter/user-sample.js';

const keysOf = (paths: readonly (readonly string[])[]) => paths.map((path) => path.slice(1).join('.'));
const fieldsOf = (attributes: Record<string, unknown>) => sampleOf([User.fromPartial({ attributes })]).fields;
const search = (fields: ReturnType<typeof fieldsOf>, text: string, filter = ''): Chip => {
  const paths = searchedPaths(fields);
  const chip: Chip = { path: paths[0] ?? [], operator: 'contains', values: [text] };
  return searchIn(chip, paths, roomBeside(filter));
};

describe('a text in any attribute', () => {
  it('is searched in every attribute with texts, and in days last', () => {
    const fields = fieldsOf({
      started: '2026-01-31',
      a: 'x',
      b: 'x',
      c: 'x',
      d: 'x',
      e: 'x',
      f: 'x',
      notes: 'afternoon '.repeat(100),
      website: 'https://example.com/people/23',
      address: { street: 'Hauptstraße 1', geo: { place: { name: 'Mitte' } } },
      tags: ['new'],
      numbers: [1],
      level: 1,
    });
    const expected = 'a b c d e f notes website address.street address.geo.place.name tags started'.split(' ');
    expect(keysOf(searchedBy(search(fields, 'x')))).toEqual(expected);
  });

  const keys = Array.from({ length: 60 }, (_, at) => `attribute number ${at}`);
  const many = fieldsOf(Object.fromEntries(keys.map((key) => [key, 'x'])));

  it.each([
    ['a word', 'afternoon', ''],
    ['several words', 'the “late” afternoon', ''],
    ['beside another condition', 'afternoon', 'attributes.started >= today - 6'],
    ['beside an expression', 'afternoon', 'attributes.level > 5 || last_name == "Turing" // a comment'],
  ])('fills a filter that the server accepts and the page reads as a chip: %s', (_, text, filter) => {
    const chip = search(many, text, filter);
    const count = searchedBy(chip).length;
    expect(count).toBeGreaterThan(5);
    expect(count).toBeLessThan(60);
    expect(readChips(writeChip(chip))).toEqual([chip]);
    const others = readChips(filter);
    const whole = others === undefined ? `(${filter}\n) && ${writeChip(chip)}` : writeChips([...others, chip]);
    expect(() => parseFilter(whole.replace('today - 6', '"2026-01-01"'))).not.toThrow();
  });

  it('is searched in all of them by searching the rest again and again', () => {
    let chip = search(many, 'afternoon');
    const seen = new Set(keysOf(searchedBy(chip)));
    for (let searches = 0; seen.size < 60 && searches < 20; searches++) {
      chip = searchOfRest(chip, many, roomBeside(''));
      expect(writeChip(chip).length).toBeLessThanOrEqual(2048);
      for (const key of keysOf(searchedBy(chip))) seen.add(key);
    }
    expect(seen.size).toBe(60);
  });

  it('says of how many attributes it is searched in some', () => {
    const chip = search(many, 'afternoon');
    const left = unsearchedPaths(chip, many).length;
    const searched = searchedBy(chip).length;
    expect(searched + left).toBe(60);
    expect(chipTexts(chip, left).field).toBe(`Any of ${searched} of 60 attributes`);
    expect(chipTexts(chip).field).toBe(`Any of ${searched} attributes`);
  });

  it('reads the links of earlier versions, with six attributes', () => {
    const old = { path: ['attributes', 'a'], others: ['b', 'c', 'd', 'e', 'f'].map((key) => ['attributes', key]) };
    const chip: Chip = { ...old, operator: 'contains', values: ['x y'] };
    expect(readChips(writeChip(chip))).toEqual([chip]);
  });

  it('is not missed in days if it has no digit', () => {
    const fields = fieldsOf({ a: 'x', b: 'x', started: '2026-01-31' });
    const chip: Chip = {
      path: ['attributes', 'a'],
      others: [['attributes', 'b']],
      operator: 'contains',
      values: ['x'],
    };
    expect(unsearchedPaths(chip, fields)).toEqual([]);
    expect(keysOf(unsearchedPaths({ ...chip, values: ['2026'] }, fields))).toEqual(['started']);
  });
});
