/**
 * Recovers the connections that node:cluster has sent to a worker, and that the worker has not accepted.
 *
 * node:cluster keeps such a connection open until the worker replies, and the client waits. There are three cases without a
 * usable reply: the worker dies first, it has no file descriptors left, or it refuses the connection after all workers have
 * closed the port. This file relies on messages of node:cluster that Node does not document (decision 0052). The tests of it,
 * in test/recovery/workers.test.ts, fail if these messages change.
 */
import type { ChildProcess } from 'node:child_process';

/** The fields of node:cluster's messages that matter here. */
interface ClusterMessage {
  /** `NODE_HANDLE_NACK` if a connection did not reach the worker. */
  readonly cmd?: string;
  /** The parent sends a connection with `newconn`. A worker that has closed a port sends `close`. */
  readonly act?: string;
  /** Identifies the port. */
  readonly key?: string;
  readonly seq?: number;
  /** The `seq` of the message that this one is the reply to. */
  readonly ack?: number;
  readonly accepted?: boolean;
  readonly errno?: number;
}

interface Connection {
  readonly key: string;
  readonly handle: { close(): void };
}

/** The workers that listen on each port. It belongs to the module because node:cluster's ports belong to the process. */
const listening = new Map<string, Set<ChildProcess>>();

/**
 * Sends the worker's unaccepted connections to another worker, or closes them if none listens. Must be called at once after
 * the fork.
 */
export function recoverUnaccepted(worker: ChildProcess): void {
  const { send, disconnect } = worker;
  const unaccepted = new Map<number, Connection>();

  function noteSent({ act, key, seq, ack, errno }: ClusterMessage, handle?: Connection['handle']): void {
    if (key === undefined) return;
    if (act === 'newconn' && seq !== undefined && handle !== undefined) unaccepted.set(seq, { key, handle });
    // The reply to a worker that has started to listen.
    if (ack !== undefined && !errno) listening.set(key, (listening.get(key) ?? new Set()).add(worker));
  }

  const reply = (ack: number, accepted: boolean) =>
    worker.emit('internalMessage', { cmd: 'NODE_CLUSTER', ack, accepted });

  function receive({ cmd, act, key, ack, accepted }: ClusterMessage): void {
    if (cmd === 'NODE_HANDLE_NACK') {
      // Node sends the next connection after the worker has received the previous one, so it is the first.
      const [lost] = unaccepted.keys();
      // node:cluster then closes it, as a process without workers does, and sends the worker the next one.
      if (lost !== undefined) reply(lost, true);
    }
    if (act === 'close' && key !== undefined) listening.get(key)?.delete(worker);
    const connection = ack === undefined ? undefined : unaccepted.get(ack);
    if (ack === undefined || connection === undefined) return;
    unaccepted.delete(ack);
    // If a worker listens, node:cluster sends it the refused connection.
    if (!accepted && !listening.get(connection.key)?.size) connection.handle.close();
  }

  Object.assign(worker, {
    send(...args: Parameters<typeof noteSent>) {
      noteSent(...args);
      return Reflect.apply(send, worker, args);
    },
    /** Node calls this at the end of the channel, but then emits no event if a connection is on its way to the worker. */
    disconnect() {
      disconnect.call(worker);
      if (worker.channel !== null) worker.emit('disconnect');
    },
  });
  // node:cluster's listeners are called first, because they were added first.
  worker.on('internalMessage', receive);
  worker.once('disconnect', () => {
    for (const workers of listening.values()) workers.delete(worker);
    // A worker replies before it reads. So nothing has been read from these connections, and another worker can serve them.
    for (const ack of [...unaccepted.keys()]) reply(ack, false);
  });
}
