/**
 * The positions that the primary's log had, and when. They turn the position of a replica into its lag, so that an idle
 * directory needs no heartbeat.
 */

export interface LogPositions {
  /** The primary had this position at this time. Positions and times ascend, except after a failover. */
  add(position: bigint, atMs: number): void;
  /** The latest position; undefined before the first add(). */
  readonly last: bigint | undefined;
  /**
   * How long before the latest add() the primary had passed this position, which is the age of the data of a replica that
   * has replayed the log up to there. Infinity if that is not known.
   */
  lagMsOf(position: bigint): number;
}

interface Sample {
  readonly position: bigint;
  /** When the primary last had this position. */
  readonly atMs: number;
}

/** Forgets positions after `keptMs`. A longer lag is reported as about this. */
export function createLogPositions(keptMs: number): LogPositions {
  let samples: Sample[] = [];
  let hasForgotten = false;

  return {
    add(position, atMs) {
      const last = samples.at(-1);
      // The primary has lost a part of its log, because a standby without that part was promoted.
      if (last !== undefined && position < last.position) {
        samples = [];
        hasForgotten = false;
      }
      if (last?.position === position) samples.pop();
      samples.push({ position, atMs });
      while (samples[0] !== undefined && samples[0].atMs < atMs - keptMs) {
        samples.shift();
        hasForgotten = true;
      }
    },

    get last() {
      return samples.at(-1)?.position;
    },

    lagMsOf(position) {
      const last = samples.at(-1);
      const oldest = hasForgotten ? samples[0] : undefined;
      const reached = samples.findLast((sample) => sample.position <= position) ?? oldest;
      return reached === undefined || last === undefined ? Number.POSITIVE_INFINITY : last.atMs - reached.atMs;
    },
  };
}
