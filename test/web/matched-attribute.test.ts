/** Tests which attribute explains why a user matches a filter. */
import { describe, expect, it } from 'vitest';
import { User } from '../../src/client/index.js';
import { type Chip, writeChip } from '../../web/filter/filter-chips.js';
import { matchOfFilter } from '../../web/list/matched-attribute.js';

const tags = ['attributes', 'tags'];
const note = ['attributes', 'note'];
const level = ['attributes', 'level'];
const user = User.fromPartial({
  attributes: {
    tags: ['new', 'Remote'],
    note: 'She likes to work remote in the winter',
    level: 7,
    started: '2026-02-01',
    address: { city: 'London' },
  },
});

function textOf(chips: readonly Chip[], columns: readonly string[] = ['name']): string | undefined {
  const match = matchOfFilter(chips.map(writeChip).join(' && '), columns)?.(user);
  return match === undefined ? undefined : `${match.label}: ${match.text}`;
}

describe('the attribute because of which a user matches', () => {
  const anywhere: Chip = { path: tags, others: [note], operator: 'contains', values: ['REMOTE'] };

  it('is the first that contains the text, with only the matching items of a list', () => {
    expect(textOf([anywhere])).toBe('tags: Remote');
    expect(textOf([{ ...anywhere, values: ['winter'] }])).toBe('note: …in the winter');
    expect(textOf([{ ...anywhere, values: ['she'] }])).toBe('note: She likes to work remote in the winter');
    expect(textOf([{ ...anywhere, values: ['summer'] }])).toBeUndefined();
  });

  it('is not shown if a column shows one that matches', () => {
    expect(textOf([anywhere], ['name', 'attributes.tags'])).toBeUndefined();
    expect(textOf([anywhere], ['name', 'attributes.note'])).toBeUndefined();
    expect(textOf([anywhere], ['name', 'attributes.level'])).toBe('tags: Remote');
  });

  it('has the value of a condition that several values meet, and not the one that the filter names', () => {
    const city = ['attributes', 'address', 'city'];
    const started = ['attributes', 'started'];
    expect(textOf([{ path: level, operator: 'atLeast', values: [5] }])).toBe('level: 7');
    expect(textOf([{ path: level, operator: 'is', values: [5, 7] }])).toBe('level: 7');
    expect(textOf([{ path: city, operator: 'startsWith', values: ['Lon'] }])).toBe('address › city: London');
    expect(textOf([{ path: started, operator: 'since', values: ['2026-01-01'] }])).toMatch(/^started: .*Feb/);
    expect(textOf([{ path: level, operator: 'is', values: [7] }])).toBeUndefined();
    expect(textOf([{ path: level, operator: 'isNot', values: [5, 6] }])).toBeUndefined();
    expect(textOf([{ path: ['attributes', 'none'], operator: 'isEmpty', values: [] }])).toBeUndefined();
    expect(textOf([{ path: ['email'], operator: 'contains', values: ['a'] }])).toBeUndefined();
    const both: Chip[] = [{ path: level, operator: 'is', values: [7] }, anywhere];
    expect(textOf(both)).toBe('tags: Remote');
  });

  it('is not known for a filter that is not made of chips', () => {
    expect(matchOfFilter('attributes.level > 5 || attributes.vip == true', ['name'])).toBeUndefined();
  });
});
