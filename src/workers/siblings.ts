/**
 * Notifies the watchers of one worker that another worker has written, so that they need not wait for their next poll.
 *
 * A notification has no content. If one is lost or arrives too early, the next poll finds the changes.
 */
import type { Siblings } from '../operations/directory.js';
import type { FromSibling, ToSibling } from './messages.js';
import type { WorkerProcess } from './worker-process.js';

// A busy worker notifies at most this often, because a notification costs CPU in the parent and in both workers.
const notifyIntervalMs = 10;

/** Runs in a worker. `send` sends a message to the parent. */
export function createSiblings(send: (message: FromSibling) => void): Siblings & { receive(message: ToSibling): void } {
  let isWatchedElsewhere = false;
  let isThrottled = false;
  let isNotifyDue = false;
  let listener = () => {};

  function notifyWrite(): void {
    if (!isWatchedElsewhere) return;
    isNotifyDue = isThrottled;
    if (isThrottled) return;
    isThrottled = true;
    send({ type: 'written' });
    setTimeout(() => {
      isThrottled = false;
      if (isNotifyDue) notifyWrite();
    }, notifyIntervalMs).unref();
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
type RelayedWorker = Pick<WorkerProcess, 'serving' | 'ended' | 'onSiblingMessage' | 'send'>;

/** Runs in the parent, and forwards each worker's messages to the workers that need them. */
export function createRelay(): { add(worker: RelayedWorker): void } {
  const watched = new Set<RelayedWorker>();
  /** The last `watched elsewhere` that each serving worker received. */
  const lastSent = new Map<RelayedWorker, boolean>();

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
