/** Removes the keys of attributes that a caller must not see from all users that a directory returns. */
import { createPause } from '../concurrency/event-loop.js';
import { withoutAttributes } from '../model/hidden-attributes.js';
import type { AnyUser } from '../model/stored-user.js';
import type { Directory } from './directory.js';
import type { WatchMessage } from './watch-users.js';

/** The users of `directory` are copied, because its watchers share them. */
export function hideAttributes(directory: Directory, hidden: ReadonlySet<string>): Directory {
  const visible = <T extends AnyUser>(user: T): T => withoutAttributes(user, hidden);

  // Many large users take long, so other calls run in between.
  async function allVisible<T extends AnyUser | undefined>(users: readonly T[]): Promise<T[]> {
    const pause = createPause();
    const shown: T[] = [];
    for (const user of users) {
      const paused = pause();
      if (paused !== undefined) await paused;
      shown.push(user === undefined ? user : visible(user));
    }
    return shown;
  }

  const visibleMessage = (message: WatchMessage): WatchMessage => ({
    ...message,
    changes: message.changes.map((change) =>
      change.user === undefined ? change : { ...change, user: visible(change.user) },
    ),
  });

  // Lists every operation, so that a new one does not compile before somebody has decided what it hides.
  return {
    createUser: async (...args) => visible(await directory.createUser(...args)),
    batchCreateUsers: async (...args) => allVisible(await directory.batchCreateUsers(...args)),
    updateUser: async (...args) => visible(await directory.updateUser(...args)),
    deleteUser: (...args) => directory.deleteUser(...args),
    getUser: async (...args) => visible(await directory.getUser(...args)),
    getUserByEmail: async (...args) => visible(await directory.getUserByEmail(...args)),
    batchGetUsers: async (...args) => allVisible(await directory.batchGetUsers(...args)),
    async listUsers(...args) {
      const page = await directory.listUsers(...args);
      return { ...page, users: await allVisible(page.users) };
    },
    // Both return ids and counts, but no users.
    listUserChanges: (...args) => directory.listUserChanges(...args),
    importUsers: (...args) => directory.importUsers(...args),
    async *exportUsers(...args) {
      for await (const message of directory.exportUsers(...args)) {
        yield { ...message, users: await allVisible(message.users) };
      }
    },
    async *watchUsers(...args) {
      for await (const message of directory.watchUsers(...args)) yield visibleMessage(message);
    },
    async *resolveUsers(...args) {
      for await (const { request, byId, byEmail } of directory.resolveUsers(...args)) {
        yield { request, byId: await allVisible(byId), byEmail: await allVisible(byEmail) };
      }
    },
    close: () => directory.close(),
  };
}
