/** Removes rows whose users were deleted or no longer match the query. Rows in view fade first, so that the user sees why. */
import type { User } from '../../generated/users/v1/user.js';
import type { ListQuery } from '../address/list-query.js';
import type { Directory } from '../calls/directory.js';
import { createMatchCheck, type MatchCheck } from './match-check.js';
import type { LeavingReason, RowMarks } from './row-marks.js';
import type { UserPages } from './user-pages.js';

export interface LeavingRows {
  /** Checks whether changed users still match. */
  readonly matches: MatchCheck;
  removeDeleted(ids: ReadonlySet<string>): void;
  /** Checks a user that this page has changed. It is shown again if it matches again, as after an undo. */
  checkOwn(id: string): void;
}

export interface LeavingRowsOptions {
  readonly directory: Directory;
  readonly marks: RowMarks;
  queryNow(): ListQuery;
  pagesNow(): UserPages;
  usersInView(): readonly User[];
  addToTotal(difference: number): void;
  onChange(): void;
}

export function createLeavingRows(options: LeavingRowsOptions): LeavingRows {
  const { directory, marks, queryNow, pagesNow, usersInView, addToTotal, onChange } = options;
  const expected = new Set<string>();

  function fade(ids: ReadonlySet<string>, reason: LeavingReason): void {
    marks.markLeaving(ids, reason, (gone) => {
      pagesNow().remove(gone);
      onChange();
    });
  }

  function onNoMatch(ids: readonly string[]): void {
    const left = new Set(ids.filter((id) => pagesNow().has(id) && marks.leavingReason(id) === undefined));
    if (left.size === 0) return;
    addToTotal(-left.size);
    fade(left, 'unmatched');
    onChange();
  }

  function onMatch(users: readonly User[]): void {
    for (const user of users) {
      if (!expected.has(user.id)) continue;
      const isBack = marks.leavingReason(user.id) === 'unmatched' && marks.endLeaving(user.id);
      if (!isBack && (pagesNow().has(user.id) || !pagesNow().insert(user))) continue;
      addToTotal(1);
      marks.markChanged(user.id);
    }
    onChange();
  }

  const matches = createMatchCheck({ directory, queryNow, onMatch, onNoMatch });
  return {
    matches,
    removeDeleted(ids) {
      if (ids.size === 0) return;
      const visible = new Set(usersInView().flatMap(({ id }) => (ids.has(id) ? [id] : [])));
      pagesNow().remove(new Set([...ids].filter((id) => !visible.has(id))));
      if (visible.size > 0) fade(visible, 'deleted');
    },
    checkOwn(id) {
      expected.add(id);
      matches.check(id);
    },
  };
}
