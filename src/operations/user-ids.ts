/** Creates the ids of new users: UUIDs version 7, which sort by the millisecond of their creation. */
import { randomFillSync, randomInt } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';

// Generates random bytes for many ids at once. The library generates them for each id, which takes five times as long.
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

/**
 * Creates an id for each row of one call. A counter after the timestamp gives ids of one millisecond the rows' order.
 */
export function createRowIds(): (row: number) => string {
  const start = randomInt(2 ** 31);
  let msecs = 0;
  return (row) => {
    msecs = Math.max(msecs, Date.now());
    return uuidv7({ msecs, seq: start + row, random: takeRandom() });
  };
}
