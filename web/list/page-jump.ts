/** Jumps into the middle of a gap of the list, where no page token leads. */
import type { ListQuery } from '../address/list-query.js';
import { CallError } from '../calls/call-error.js';
import type { UserReader } from '../calls/directory.js';
import { loadForCall } from '../calls/load-part.js';
import { sentFilterOf } from '../calls/sent-filter.js';
import { conditionFrom, withCondition } from '../users/order-keys.js';
import type { Place, SeekOptions } from './seek.js';
import type { Page, UserPages } from './user-pages.js';

export interface Jumper {
  readonly isJumping: boolean;
  /** Finds the users of a row and of some before it, so that their page can be loaded. Only the last jump counts. */
  jumpTo(gap: Page, row: number): void;
  abort(): void;
}

export interface JumperOptions {
  readonly directory: UserReader;
  readonly query: ListQuery;
  readonly pages: UserPages;
  /** The beginning of a gap of this size can be loaded by its token, so there is no jump to it. */
  readonly pageSize: number;
  /** Called if no users were found, because the estimate of their number is wrong. */
  onMissed(gap: Page): void;
  /** Called after a jump, also after one that failed. Not called after a jump that was replaced or aborted. */
  onEnd(error: unknown): void;
}

/** Rows before the wanted one that a jump also finds. */
const rowsBeforeJump = 100;
/** A scroll bar that is dragged passes many places. */
const jumpAfterMs = 100;
/** How far a jump may miss, as a part of the gap, and at least in rows. */
const missPart = 0.01;
const missRows = 40;
/** The limit of the server. A jump adds conditions, so a filter can become too long. Then the page loads all rows in between. */
const filterMax = 2048;

export function createJumper({ directory, query, pages, pageSize, onMissed, onEnd }: JumperOptions): Jumper {
  let jump: { readonly row: number; readonly controller: AbortController } | undefined;

  async function split(gap: Page, row: number, signal: AbortSignal): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, jumpAfterMs));
    const low = pages.lowerEnd(gap);
    // A response in the meantime may have filled the beginning of the gap. The rest of it is another page then.
    const isInGap = gap.isGap && row > gap.start && row < gap.start + gap.count;
    if (signal.aborted || low === undefined || !isInGap) return;
    const { count } = gap;
    const fromEnd = gap.start + count - row;
    // Rows near others that are loaded will be connected with them, so their number matters.
    const isNear = fromEnd <= 2 * pageSize;
    const tolerance = isNear ? missRows : Math.max(missRows, count * missPart);
    const wanted = Math.min(count - 1, fromEnd + (isNear ? missRows : 0));
    const high = pages.upperEnd(gap);
    const place = await findPlace({ directory, query, low, high, count, fromEnd: wanted, tolerance, signal });
    if (signal.aborted) return;
    if (place === undefined) onMissed(gap);
    else pages.split(gap, isNear ? gap.start + gap.count - place.fromEnd : row, place.key);
  }

  async function findPlace(options: SeekOptions): Promise<Place | undefined> {
    const { seek } = await loadForCall(() => import('./seek.js'));
    try {
      const place = await seek(options);
      const filter = place && withCondition(query.filter, conditionFrom(query.orderBy, place.key));
      return filter === undefined || (await sentFilterOf(filter)).length > filterMax ? undefined : place;
    } catch (error) {
      if (error instanceof CallError && error.reason === 'INVALID_FILTER') return undefined;
      throw error;
    }
  }

  return {
    get isJumping() {
      return jump !== undefined;
    },
    jumpTo(gap, wanted) {
      const row = Math.max(gap.start + 1, wanted - rowsBeforeJump);
      if (jump !== undefined && Math.abs(jump.row - row) < rowsBeforeJump) return;
      jump?.controller.abort();
      const controller = new AbortController();
      jump = { row, controller };
      const end = (error?: unknown) => {
        if (jump?.controller !== controller) return;
        jump = undefined;
        onEnd(error);
      };
      split(gap, row, controller.signal).then(() => end(), end);
    },
    abort() {
      jump?.controller.abort();
      jump = undefined;
    },
  };
}
