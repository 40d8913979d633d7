/** Which changes of an attribute may move users out of the list. */

/** Errs on the side of yes, because only the server evaluates filters. */
export function mayStopMatching(filter: string, changedKey: string): boolean {
  // An escape in a text may stand for a part of the key.
  return filter.includes(changedKey) || /\\|\bupdate_time\b/.test(filter);
}
