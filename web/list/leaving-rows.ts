/** Removes rows whose users were deleted or do not match the query. Rows in view fade first, so that the user sees why. */
import type { User } from '../../generated/users/v1/user.js';
import { type ListQuery, selectsAll } from '../address/list-query.js';
import type { Directory } from '../calls/directory.js';
import type { Selection } from '../users/selection.js';
import { createMatchCheck, type MatchCheck } from './match-check.js';
import type { LeavingReason, RowMarks } from './row-marks.js';
import type { UserPages } from './user-pages.js';

export interface LeavingRows {
  /** Checks whether changed users match. */
  readonly matches: MatchCheck;
  removeDeleted(ids: ReadonlySet<string>): void;
  /** Checks a user that others have changed if it is in view or in the selection. */
  checkChanged(id: string): void;
  /** Checks a user that has changed while its row was read. The row may be in view soon. */
  checkRead(id: string): void;
  /** Checks a user that this page has changed. It is shown again if it matches again, as after an undo. */
  checkOwn(id: string): void;
  /** Checks a user that this page has created, and that is not in the total yet. */
  checkCreated(id: string): void;
}

export interface LeavingRowsOptions {
  readonly directory: Directory;
  readonly marks: RowMarks;
  queryNow(): ListQuery;
  pagesNow(): UserPages;
  usersInView(): readonly User[];
  selectionNow(): Selection | undefined;
  addToTotal(difference: number, changedAt?: number): void;
  /** Called with a user without a row that matches after a change by others, and the time of the change. */
  onArrival(user: User, changedAt: number): void;
  /** Called for a user that does not match, after its row was marked. */
  onNoMatch(id: string, changedAt: number): void;
  onChange(): void;
}

export function createLeavingRows(options: LeavingRowsOptions): LeavingRows {
  const { directory, marks, queryNow, pagesNow, usersInView, addToTotal, onArrival, onChange } = options;
  const expected = new Set<string>();
  const created = new Set<string>();

  /** Users that were selected in an earlier list stay selected if they do not match. */
  function isInSelection(id: string): boolean {
    const selection = options.selectionNow();
    if (selection === undefined) return false;
    return selection.excluded.has(id) || (selection.ids.has(id) && !selection.earlier.has(id));
  }

  function fade(ids: ReadonlySet<string>, reason: LeavingReason): void {
    marks.markLeaving(ids, reason, (gone) => {
      pagesNow().remove(gone);
      onChange();
    });
  }

  function onNoMatch(id: string, changedAt: number): void {
    const isForeign = created.delete(id);
    if (pagesNow().has(id) && marks.leavingReason(id) === undefined) {
      if (!isForeign) addToTotal(-1, changedAt);
      fade(new Set([id]), isForeign ? 'foreign' : 'unmatched');
    }
    options.onNoMatch(id, changedAt);
    onChange();
  }

  function onMatch(user: User, changedAt: number): void {
    const { id } = user;
    const reason = marks.leavingReason(id);
    if (created.delete(id)) addToTotal(1, changedAt);
    else if (reason !== undefined && reason !== 'deleted' && marks.endLeaving(id)) addToTotal(1, changedAt);
    else if (pagesNow().has(id)) return;
    else if (!expected.has(id)) {
      // The row of a user in the selection may not be in memory any more. Such a user is not new.
      if (isInSelection(id) && !pagesNow().hadNoRow(user)) return;
      onArrival(user, changedAt);
    } else if (pagesNow().insert(user)) addToTotal(1, changedAt);
    else return;
    marks.markChanged(id);
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
    checkChanged(id) {
      if (selectsAll(queryNow())) return;
      const isInView = pagesNow().has(id) && usersInView().some((user) => user.id === id);
      if (isInView) matches.checkSoon(id, 'inView');
      else if (isInSelection(id)) matches.checkSoon(id, 'selected');
    },
    checkRead: (id) => matches.checkSoon(id, 'inView'),
    checkOwn(id) {
      expected.add(id);
      matches.check(id);
    },
    checkCreated(id) {
      created.add(id);
      matches.check(id);
    },
  };
}
