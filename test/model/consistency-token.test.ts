import { describe, expect, it } from 'vitest';
import { createConsistencyTokens, logPosition } from '../../src/model/consistency-token.js';

const tokens = createConsistencyTokens({ systemId: '7650000000000000001', databaseOid: '16384' });
const others = createConsistencyTokens({ systemId: '7650000000000000002', databaseOid: '16384' });
const largest = logPosition('ffffffff', 2n ** 64n - 1n);

describe('a consistency token', () => {
  it.each([0n, 1n, 0x16b3748n, largest])('has the position %d', (position) => {
    expect(tokens.positionOf(tokens.tokenOf(position))).toBe(position);
  });

  it('is greater as a text if it is newer', () => {
    const bytes = [0n, 9n, 10n, 255n, 256n, 2n ** 40n];
    const positions = [...bytes, ...bytes.map((byte) => logPosition('0000000A', byte)), largest];
    const texts = positions.map(tokens.tokenOf);
    expect(texts.toSorted()).toEqual(texts);
    expect(new Set(texts.map(({ length }) => length)).size).toBe(1);
  });

  it('is short, and does not contain the identifiers of the server', () => {
    const token = tokens.tokenOf(largest);
    expect(token).toMatch(/^[\w.]{1,50}$/);
    expect(token).not.toContain('7650000000000000001');
  });

  it('may be one of several, of which the newest counts', () => {
    const joined = [5n, 70n, 6n].map(tokens.tokenOf).join(', ');
    expect(tokens.positionOf(joined)).toBe(70n);
  });

  it.each([
    ['an empty text', ''],
    ['another text', 'latest'],
    ['another version', tokens.tokenOf(1n).replace(/^1/, '2')],
    ['a longer token', `${tokens.tokenOf(1n)}0`],
    ['capitals', tokens.tokenOf(10n).toUpperCase()],
    ['the token of another server', others.tokenOf(1n)],
    ['a list with such a token', `${tokens.tokenOf(9n)},${others.tokenOf(1n)}`],
    ['a long list', Array(100).fill(tokens.tokenOf(1n)).join()],
  ])('has no position if it is %s', (_, text) => {
    expect(tokens.positionOf(text)).toBeUndefined();
  });

  it('is of another server if only the database differs', () => {
    const clone = createConsistencyTokens({ systemId: '7650000000000000001', databaseOid: '16385' });
    expect(clone.positionOf(tokens.tokenOf(1n))).toBeUndefined();
  });
});
