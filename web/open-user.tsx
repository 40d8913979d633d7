/** The dialog of the user whom the place names, with what the feed hears of that user while it is open. */
import { useEffect, useState } from 'preact/hooks';
import type { User, UserChange } from '../generated/users/v1/user.js';
import { Dialog } from './dialog.js';
import type { Directory } from './directory.js';
import { describeFailure, readUser } from './save-user.js';
import { UserDialog } from './user-dialog.js';

/** Told of every change, and of none where some may have been missed. */
export type Hearers = Set<(changes: readonly UserChange[]) => void>;

export interface OpenUserProps {
  readonly directory: Directory;
  /** `new` for a user who is to be created. */
  readonly id: string;
  /** The user as the list has it, to begin with: nobody waits for what is there already. */
  readonly known: User | undefined;
  readonly hearers: Hearers;
  onClose(): void;
  onSaved(user: User): void;
  onDeleted(user: User): void;
}

export function OpenUser({ directory, id, known, hearers, onClose, onSaved, onDeleted }: OpenUserProps) {
  const [user, setUser] = useState<User | 'gone' | undefined>(known);
  const [latest, setLatest] = useState<User | 'gone'>();
  const [problem, setProblem] = useState('');
  const [tries, setTries] = useState(0);

  useEffect(() => {
    if (id === 'new') return;
    let isEnded = false;
    async function read(show: (user: User | 'gone') => void, fail: (problem: string) => void): Promise<void> {
      try {
        const found = (await readUser(directory, id)) ?? 'gone';
        if (!isEnded) show(found);
      } catch (error) {
        if (!isEnded) fail(describeFailure(error));
      }
    }
    const hear = (changes: readonly UserChange[]) => {
      // What cannot be read just now is found out at the latest when it is saved.
      if (changes.length === 0) void read(setLatest, () => {});
      const own = changes.findLast((change) => change.user?.id === id)?.user;
      // Of a user who is gone there is the id and nothing else.
      if (own !== undefined) setLatest(own.email === '' ? 'gone' : own);
    };
    // Listens first: a change between the two would otherwise be missed.
    hearers.add(hear);
    if (user === undefined) void read(setUser, setProblem);
    else void read(setLatest, () => {});
    const endSignIn = directory.onSignIn(() => {
      if (directory.needsSignIn) return;
      setProblem('');
      setTries((before) => before + 1);
    });
    return () => {
      isEnded = true;
      hearers.delete(hear);
      endSignIn();
    };
  }, [directory, id, hearers, tries]);

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
  // Without a token there is nothing to say but that one is needed, which is said elsewhere.
  if (user === undefined && (problem === '' || directory.needsSignIn)) return null;
  return (
    <Dialog
      title={user === 'gone' ? 'No such user' : 'This user cannot be shown'}
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
      <p role="status">{user === 'gone' ? 'Nobody in the directory has this id, or no longer.' : problem}</p>
    </Dialog>
  );
}
