/** Ids of new users: UUIDs of version 7, which stand in an index in the order of the milliseconds in which they are made. */
import { randomFillSync, randomInt } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';

// Random bytes come for many ids at once: left to fetch them for each, the library takes five times as long.
const idBytes = 16;
const random = Buffer.alloc(256 * idBytes);
let used = random.length;

function takeRandom(): Uint8Array {
  if (used === random.length) {
    randomFillSync(random);
    used = 0;
  }
  used += idBytes;
  return random.subarray(used - idBytes, used);
}

export function createUserId(): string {
  return uuidv7({ random: takeRandom() });
}

/** Gives each row of one call an id, so that the ids have the order of the rows: behind the time stands a counter. */
export function createRowIds(): (row: number) => string {
  const start = randomInt(2 ** 31);
  let msecs = 0;
  return (row) => {
    msecs = Math.max(msecs, Date.now());
    return uuidv7({ msecs, seq: start + row, random: takeRandom() });
  };
}
