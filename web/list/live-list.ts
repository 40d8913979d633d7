/** The page's list, which follows the query in the URL, and the feed that keeps it up to date. */
import { useEffect, useLayoutEffect, useReducer, useState } from 'preact/hooks';
import { isSameQuery, type ListQuery } from '../address/list-query.js';
import type { Directory } from '../calls/directory.js';
import { type FeedState, UserFeed } from '../calls/user-feed.js';
import { useNewDay } from '../filter/use-new-day.js';
import { afterPaint } from '../ui/after-paint.js';
import type { ChangeListeners } from './open-user.js';
import { UserList } from './user-list.js';

export interface LiveList {
  readonly list: UserList;
  /** Differs after each change of the list. */
  readonly version: number;
  readonly feedState: FeedState;
  readonly changeListeners: ChangeListeners;
}

export function useLiveList(directory: Directory, query: ListQuery): LiveList {
  const [list] = useState(() => new UserList(directory, query));
  const [version, redraw] = useReducer<number, void>((before) => before + 1, 0);
  const [changeListeners] = useState<ChangeListeners>(() => new Set());
  const [feedState, setFeedState] = useState<FeedState>('connecting');

  // An effect after the paint would miss an answer that comes before it.
  useLayoutEffect(() => list.onChange(() => redraw()), [list]);
  useEffect(() => () => list.close(), [list]);
  // The first rows are more urgent. The list is read again when the feed is connected, because the answer to ListUsers has no
  // position in the change log. A count or the newest update_time would not show all changes in between: transactions can
  // commit in another order than that of their times, and a deletion leaves no time.
  const isFirstRead = list.generation === 0 && list.queryError === undefined;
  useEffect(() => {
    if (isFirstRead) return;
    let hasFailed = false;
    let feed: UserFeed | undefined;
    const start = () => {
      feed = new UserFeed({
        directory,
        onChanges(changes) {
          list.apply(changes);
          for (const onChanges of changeListeners) onChanges(changes);
        },
        onGap() {
          list.refresh();
          for (const onChanges of changeListeners) onChanges([]);
        },
        onState(state) {
          setFeedState(state);
          if (state === 'live' && hasFailed) list.resume();
          hasFailed = state === 'reconnecting' || state === 'offline' || (hasFailed && state !== 'live');
        },
      });
    };
    const cancel = afterPaint(start);
    return () => {
      cancel();
      feed?.close();
    };
  }, [directory, list, changeListeners, isFirstRead]);
  useEffect(() => {
    if (!isSameQuery(query, list.requestedQuery)) list.request(query);
  }, [query.query, query.filter, query.orderBy, list]);
  useNewDay(query.filter, () => list.request(list.requestedQuery));
  return { list, version, feedState, changeListeners };
}
