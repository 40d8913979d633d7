/**
 * Notifies watchers in one worker of writes in another worker, before their next poll of the change log.
 *
 * A notification is only a hint without content. If one is lost or early, the next poll finds the changes.
 */
import type { Siblings } from '../operations/directory.js';
import type { FromSibling, ToSibling } from './messages.js';
import type { WorkerProcess } from './worker-process.js';

// Limits how often a busy worker sends a hint, which costs three processes a message.
const hintIntervalMs = 10;

/** Runs in a worker. `send` sends a message to the process that forked it. */
export function createSiblings(send: (message: FromSibling) => void): Siblings & { receive(message: ToSibling): void } {
  let isWatchedElsewhere = false;
  let isThrottled = false;
  let isHintDue = false;
  let listener = () => {};

  function notifyWrite(): void {
    if (!isWatchedElsewhere) return;
    isHintDue = isThrottled;
    if (isThrottled) return;
    isThrottled = true;
    send({ type: 'written' });
    setTimeout(() => {
      isThrottled = false;
      if (isHintDue) notifyWrite();
    }, hintIntervalMs).unref();
  }

  return {
    notifyWatched: (isWatched) => send({ type: 'watched', isWatched }),
    notifyWrite,
    onWrite(wake) {
      listener = wake;
    },
    receive(message) {
      if (message.type === 'written') listener();
      else isWatchedElsewhere = message.isWatched;
    },
  };
}

/** The part of a worker that the relay uses. */
export type Member = Pick<WorkerProcess, 'serving' | 'ended' | 'onSiblingMessage' | 'send'>;

/** Runs in the process that forks the workers, and forwards their messages to the workers concerned. */
export function createRelay(): { add(worker: Member): void } {
  const watched = new Set<Member>();
  /** The last `watched elsewhere` that each serving worker received. */
  const lastSent = new Map<Member, boolean>();

  function sendWatched(): void {
    for (const [worker, before] of lastSent) {
      const isWatched = watched.size > (watched.has(worker) ? 1 : 0);
      if (isWatched === before) continue;
      lastSent.set(worker, isWatched);
      worker.send({ type: 'watched elsewhere', isWatched });
    }
  }

  return {
    add(worker) {
      worker.onSiblingMessage((message) => {
        if (message.type === 'written') {
          for (const other of watched) if (other !== worker) other.send({ type: 'written' });
          return;
        }
        if (message.isWatched) watched.add(worker);
        else watched.delete(worker);
        sendWatched();
      });
      worker.serving.then(
        () => {
          lastSent.set(worker, false);
          sendWatched();
        },
        () => {},
      );
      void worker.ended.then(() => {
        lastSent.delete(worker);
        watched.delete(worker);
        sendWatched();
      });
    },
  };
}
