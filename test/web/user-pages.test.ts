/** Tests the page's memory of a list while the server's pages change. */
import { describe, expect, it } from 'vitest';
import { User } from '../../generated/users/v1/user.js';
import { UserPages } from '../../web/list/user-pages.js';

const pageSize = 3;

function user(name: string): User {
  return User.fromPartial({ id: `id-${name}`, lastName: name, email: `${name}@example.com`, etag: '1' });
}

/** Like the server's pages by last name, which start after the previous page's last name. */
function pageAfter(names: readonly string[], token: string): [User[], string] {
  const later = [...names].sort().filter((name) => name > token);
  const users = later.slice(0, pageSize).map(user);
  return [users, later.length > pageSize ? (users.at(-1)?.lastName ?? '') : ''];
}

function load(pages: UserPages, names: readonly string[], row: number): void {
  const page = pages.pageOf(row);
  if (page !== undefined && page.users === undefined) pages.fill(page, ...pageAfter(names, page.token));
}

function loadAll(pages: UserPages, names: readonly string[]): void {
  for (let row = 0; row < pages.rows || pages.hasMore; row++) load(pages, names, row);
}

const shownNames = (pages: UserPages) =>
  Array.from({ length: pages.rows }, (_, row) => pages.userAt(row)?.lastName ?? '');
const shown = (pages: UserPages) => shownNames(pages).join('');

const alphabet = [...'bcdefghijklm'];

describe('pages', () => {
  it('hold all users in order after all are loaded', () => {
    const pages = new UserPages('last_name', 100);
    expect([pages.rows, pages.hasMore]).toEqual([0, true]);
    loadAll(pages, alphabet);
    expect([shown(pages), pages.hasMore, pages.loadedPages]).toEqual(['bcdefghijklm', false, 4]);
    expect(pages.rowOf('id-f')).toBe(4);
  });

  it('keep a bounded number of users, including those in view, and all positions', () => {
    const pages = new UserPages('last_name', 2);
    loadAll(pages, alphabet);
    pages.keep(0, 2);
    expect([pages.rows, pages.loadedPages]).toEqual([12, 2]);
    load(pages, alphabet, 4);
    pages.keep(3, 5);
    expect(pages.userAt(4)?.lastName).toBe('f');
    expect(pages.loadedPages).toBe(2);
    expect(pages.rowOf('id-m')).toBe(-1);
  });

  it.each([
    ['some users were deleted', [...'bdefgijklm']],
    ['all users of a page were deleted', [...'bcdhijklm']],
    ['others were added', [...'abccdeffggghijklm'].map((name, index) => name + (index % 2 === 0 ? 'a' : 'b'))],
    ['the end was deleted', [...'bcde']],
    ['others were added after the end', [...'bcdefghijklmnopqr']],
  ])('are correct if they are loaded again after %s', (_, names) => {
    for (const first of [0, 3, 6, 9]) {
      const pages = new UserPages('last_name', 100);
      loadAll(pages, alphabet);
      pages.keepOnly(-1, -1);
      // Starts at any page, and then loads the others.
      load(pages, names, first);
      loadAll(pages, names);
      expect(shownNames(pages)).toEqual([...names].sort());
    }
  });

  it('replace a user without moving it', () => {
    const pages = new UserPages('last_name', 100);
    loadAll(pages, alphabet);
    expect(pages.replace({ ...user('c'), lastName: 'z' })).toBe(true);
    expect(pages.replace(user('x'))).toBe(false);
    expect(shown(pages)).toBe('bzdefghijklm');
  });

  it('close the gaps of removed users', () => {
    const pages = new UserPages('last_name', 100);
    loadAll(pages, alphabet);
    pages.remove(new Set(['id-b', 'id-f', 'id-x']));
    expect([shown(pages), pages.rowOf('id-g')]).toEqual(['cdeghijklm', 3]);
  });

  it('insert a user only if its position is in memory', () => {
    const pages = new UserPages('last_name', 100);
    load(pages, alphabet, 0);
    expect(pages.insert(user('ca'))).toBe(true);
    expect(pages.insert(user('x'))).toBe(false);
    expect(pages.insert(user('ca'))).toBe(false);
    expect(pages.rowOf('id-ca')).toBe(2);
    loadAll(pages, alphabet);
    expect(pages.insert(user('x'))).toBe(true);
    expect(pages.rowOf('id-x')).toBe(pages.rows - 1);
  });

  it('contain a user once if it moved from another loaded page', () => {
    const pages = new UserPages('last_name', 100);
    load(pages, alphabet, 0);
    const page = pages.pageOf(3);
    if (page === undefined) throw new Error('There is no next page.');
    pages.fill(page, [{ ...user('b'), lastName: 'ea' }, user('f')], '');
    expect(pages.rows).toBe(4);
    expect(pages.rowOf('id-b')).toBe(2);
  });

  it('keep a user that was inserted after the request for the page, and no other', () => {
    const pages = new UserPages('last_name', 100);
    load(pages, ['a', 'c'], 0);
    const page = pages.pageOf(0);
    if (page === undefined) throw new Error('There is no page.');
    const sentAt = performance.now();
    pages.insert(user('b'));
    pages.fill(page, [user('c')], '', sentAt);
    expect(shown(pages)).toBe('bc');
    pages.fill(page, [user('c')], '', performance.now() + 1);
    expect(shown(pages)).toBe('c');
  });
});

describe('the order', () => {
  it.each([
    ['last_name', ['', 'A', 'Z', 'a', 'ab', 'b', '\uffee', '😀']],
    ['last_name desc', ['😀', '\uffee', 'b', 'a', '']],
  ])('by %s is by code point', (orderBy, names) => {
    const pages = new UserPages(orderBy, 100);
    const page = pages.pageOf(0);
    if (page !== undefined) pages.fill(page, [], '');
    for (const name of [...names].reverse()) pages.insert(user(name));
    expect(shownNames(pages)).toEqual(names);
  });
});

describe('gaps', () => {
  /** Loads the page of a row, which may begin after a jump. */
  function loadFrom(pages: UserPages, names: readonly string[], row: number): void {
    const page = pages.pageOf(row);
    if (page === undefined || page.users !== undefined) return;
    const rest = page.from === undefined ? names : names.filter((name) => name >= String(page.from?.value));
    pages.fill(page, ...pageAfter(rest, page.token));
  }

  it('have as many rows as the list has without its known rows', () => {
    const pages = new UserPages('last_name', 100);
    load(pages, alphabet, 0);
    expect(pages.rows).toBe(3);
    pages.expect(12);
    expect([pages.rows, pages.hasMore]).toEqual([12, true]);
    load(pages, alphabet, 3);
    expect(pages.rows).toBe(12);
    expect(pages.userAt(5)?.lastName).toBe('g');
    expect(pages.userAt(6)).toBeUndefined();
  });

  it.each([
    ['the right row', 7],
    ['a row too early', 5],
    ['a row too late', 9],
  ])('close after a jump to %s, whatever is loaded next', (_, row) => {
    for (const next of [
      [3, 4, 5, 6],
      [row + 1, row + 2, 11],
      [11, 4],
    ]) {
      const pages = new UserPages('last_name', 100);
      load(pages, alphabet, 0);
      pages.expect(12);
      const gap = pages.pageOf(row);
      if (gap === undefined) throw new Error('There is no gap.');
      // The user i, whose row is 7.
      pages.split(gap, row, { value: 'i', id: '00000000-0000-7000-8000-000000000001' });
      loadFrom(pages, alphabet, row);
      expect(pages.userAt(pages.rowOf('id-i') + 1)?.lastName).toBe('j');
      for (const known of next) loadFrom(pages, alphabet, known);
      for (let tries = 0; tries < 20 && pages.hasMore; tries++)
        for (let known = 0; known < pages.rows; known++) loadFrom(pages, alphabet, known);
      expect([shown(pages), pages.hasMore]).toEqual(['bcdefghijklm', false]);
    }
  });
});
