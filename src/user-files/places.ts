/**
 * Finds the place in a file of a row that was sent to the server.
 *
 * The web page imports this file, so it must not import Node modules.
 */

/** A place in the file. Rows count from 0, lines from 1. */
export interface Place {
  row: number;
  line: number;
}

/**
 * Finds the place in the file of the n-th row that was sent. The two differ because some rows are not sent, and some have
 * several lines.
 *
 * It stores only the places at which this difference changes, which are few in most files.
 */
export function createPlaces() {
  const runs: (Place & { index: number })[] = [];
  let sent = 0;
  return {
    add(place: Place): void {
      const last = runs.at(-1);
      const index = sent++;
      const isInRun =
        last && place.row - index === last.row - last.index && place.line - index === last.line - last.index;
      if (!isInRun) runs.push({ index, ...place });
    },
    find(index: number): Place {
      const run = runs.findLast((each) => each.index <= index);
      if (run === undefined || index >= sent) throw new Error('The server named a row that was not sent.');
      return { row: run.row + index - run.index, line: run.line + index - run.index };
    },
  };
}
