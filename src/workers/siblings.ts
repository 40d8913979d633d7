/**
 * Tells watchers in one worker of what was written through another one, sooner than the next look at the change log would.
 *
 * Only a hint, without what was written: where one is lost or comes too early, that next look finds all there is.
 */
import type { Siblings } from '../operations/directory.js';
import type { FromSibling, ToSibling } from './messages.js';
import type { WorkerProcess } from './worker-process.js';

// A worker that writes all the time says so no more often; each time it costs three processes a message.
const notesEveryMs = 10;

/** In a worker. `tell` reaches the process that forked it. */
export function createSiblings(tell: (message: FromSibling) => void): Siblings & { hear(message: ToSibling): void } {
  let isWatchedElsewhere = false;
  let isResting = false;
  let isDue = false;
  let listener = () => {};

  function wrote(): void {
    if (!isWatchedElsewhere) return;
    isDue = isResting;
    if (isResting) return;
    isResting = true;
    tell({ type: 'written' });
    setTimeout(() => {
      isResting = false;
      if (isDue) wrote();
    }, notesEveryMs).unref();
  }

  return {
    watched: (isWatched) => tell({ type: 'watched', isWatched }),
    wrote,
    onWrote(wake) {
      listener = wake;
    },
    hear(message) {
      if (message.type === 'written') listener();
      else isWatchedElsewhere = message.isWatched;
    },
  };
}

/** What the relay knows of a worker. */
export type Member = Pick<WorkerProcess, 'serving' | 'ended' | 'onSay' | 'say'>;

/** In the process that forks them: passes on what workers have to say, to those whom it concerns. */
export function createRelay(): { add(worker: Member): void } {
  const watched = new Set<Member>();
  /** What each that serves was told of the others. */
  const told = new Map<Member, boolean>();

  function tellOf(): void {
    for (const [worker, before] of told) {
      const isWatched = watched.size > (watched.has(worker) ? 1 : 0);
      if (isWatched === before) continue;
      told.set(worker, isWatched);
      worker.say({ type: 'watched elsewhere', isWatched });
    }
  }

  return {
    add(worker) {
      worker.onSay((message) => {
        if (message.type === 'written') {
          for (const other of watched) if (other !== worker) other.say({ type: 'written' });
          return;
        }
        if (message.isWatched) watched.add(worker);
        else watched.delete(worker);
        tellOf();
      });
      worker.serving.then(
        () => {
          told.set(worker, false);
          tellOf();
        },
        () => {},
      );
      void worker.ended.then(() => {
        told.delete(worker);
        watched.delete(worker);
        tellOf();
      });
    },
  };
}
