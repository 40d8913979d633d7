/** The dialog of the user in the URL. Shows changes to the user that the feed delivers while it is open. */
import { useEffect, useState } from 'preact/hooks';
import type { User, UserChange } from '../generated/users/v1/user.js';
import { Dialog } from './dialog.js';
import type { Directory } from './directory.js';
import { usePageTitle } from './page-title.js';
import { describeFailure, readUser } from './save-user.js';
import { UserDialog } from './user-dialog.js';

/** Called with every change, and with an empty list if changes may have been missed. */
export type ChangeListeners = Set<(changes: readonly UserChange[]) => void>;

export interface OpenUserProps {
  readonly directory: Directory;
  /** `new` to create a user. */
  readonly id: string;
  /** The user from the list, to show without waiting for the server. */
  readonly known: User | undefined;
  readonly changeListeners: ChangeListeners;
  onClose(): void;
  onSaved(user: User): void;
  onDeleted(user: User): void;
}

export function OpenUser({ directory, id, known, changeListeners, onClose, onSaved, onDeleted }: OpenUserProps) {
  const [user, setUser] = useState<User | 'gone' | undefined>(known);
  const [latest, setLatest] = useState<User | 'gone'>();
  const [problem, setProblem] = useState('');
  const [tries, setTries] = useState(0);

  useEffect(() => {
    if (id === 'new') return;
    let isUnmounted = false;
    async function read(show: (user: User | 'gone') => void, fail: (problem: string) => void): Promise<void> {
      try {
        const found = (await readUser(directory, id)) ?? 'gone';
        if (!isUnmounted) show(found);
      } catch (error) {
        if (!isUnmounted) fail(describeFailure(error));
      }
    }
    const onChanges = (changes: readonly UserChange[]) => {
      // If this read fails, saving will still detect a newer version.
      if (changes.length === 0) void read(setLatest, () => {});
      const own = changes.findLast((change) => change.user?.id === id)?.user;
      // A deleted user has only the id.
      if (own !== undefined) setLatest(own.email === '' ? 'gone' : own);
    };
    // Listen before reading, so that no change in between is missed.
    changeListeners.add(onChanges);
    if (user === undefined) void read(setUser, setProblem);
    else void read(setLatest, () => {});
    return () => {
      isUnmounted = true;
      changeListeners.delete(onChanges);
    };
  }, [directory, id, changeListeners, tries]);

  usePageTitle('open', id === 'new' ? 'New user' : user === undefined || user === 'gone' ? '' : user.displayName);
  if (id === 'new' || (user !== undefined && user !== 'gone')) {
    return (
      <UserDialog
        directory={directory}
        user={user === 'gone' ? undefined : user}
        latest={latest}
        onClose={onClose}
        onSaved={onSaved}
        onDeleted={onDeleted}
      />
    );
  }
  if (user === undefined && problem === '') return null;
  return (
    <Dialog
      title={user === 'gone' ? 'User not found' : 'Cannot show this user'}
      onClose={onClose}
      onSubmit={() => {
        if (user === 'gone') return onClose();
        setProblem('');
        setTries(tries + 1);
      }}
      footer={
        <button type="submit" class="button primary">
          {user === 'gone' ? 'Close' : 'Try again'}
        </button>
      }
    >
      <p role="status">{user === 'gone' ? 'No user has this id. It may have been deleted.' : problem}</p>
    </Dialog>
  );
}
