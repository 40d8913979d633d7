/** Runs an action on many users, with a bounded number of calls at the same time, and collects the failures. */
import type { User } from '../../generated/users/v1/user.js';
import { CallError, isAborted } from '../calls/call-error.js';
import { describeFailure } from '../calls/save-user.js';
import type { FailedUser } from '../ui/toasts.js';

// Enough to hide the latency. More would take the connections of other clients.
const callsMax = 8;
const progressMs = 100;

export type Outcome = 'changed' | 'unchanged';

export interface BulkProgress {
  readonly changed: number;
  readonly unchanged: number;
  readonly failed: number;
}

export interface BulkReport extends BulkProgress {
  readonly failures: readonly FailedUser[];
  /** Whether the action was tried for all users. */
  readonly isWhole: boolean;
  /** The error that ended the action early, for users; empty if the user stopped it. */
  readonly problem: string;
}

/** A failure of one user, whose message is for the user of the page. */
export class UserFailure extends Error {
  override readonly name = 'UserFailure';
}

type Named = Pick<User, 'id' | 'displayName' | 'email'>;

export interface BulkOptions<T extends Named> {
  readonly users: AsyncIterable<readonly T[]> | Iterable<readonly T[]>;
  act(user: T): Promise<Outcome>;
  /** Starts no further calls. Those that were sent are awaited, so that it is known what was done. */
  readonly signal: AbortSignal;
  onProgress(progress: BulkProgress): void;
}

/** Never rejects. The report contains the error, because the users before it are changed. */
export async function runBulk<T extends Named>(options: BulkOptions<T>): Promise<BulkReport> {
  const { act, signal, onProgress } = options;
  const counts = { changed: 0, unchanged: 0, failed: 0 };
  const failures: FailedUser[] = [];
  let ending: { readonly error: unknown } | undefined;
  let reportedMs = 0;

  const source = each(options.users);
  const work = async () => {
    while (!signal.aborted && ending === undefined) {
      const { value: user, done } = await source.next();
      if (done) return;
      try {
        counts[await act(user)]++;
      } catch (error) {
        if (endsAll(error)) throw error;
        counts.failed++;
        failures.push({ id: user.id, name: user.displayName, email: user.email, reason: reasonOf(error) });
      }
      if (performance.now() - reportedMs < progressMs) continue;
      reportedMs = performance.now();
      onProgress({ ...counts });
    }
  };
  const workers = Array.from({ length: callsMax }, () =>
    work().catch((error: unknown) => {
      ending ??= { error };
    }),
  );
  await Promise.all(workers);
  const isStopped = signal.aborted || isAborted(ending?.error);
  return {
    ...counts,
    failures,
    isWhole: ending === undefined && !signal.aborted,
    problem: isStopped || ending === undefined ? '' : describeFailure(ending.error),
  };
}

async function* each<T>(parts: AsyncIterable<readonly T[]> | Iterable<readonly T[]>): AsyncGenerator<T, undefined> {
  for await (const part of parts) yield* part;
  return undefined;
}

/** Errors that all other users would have too, and bugs of this page. */
function endsAll(error: unknown): boolean {
  if (error instanceof UserFailure || isAborted(error)) return false;
  return !(error instanceof CallError) || error.code === 'UNAUTHENTICATED';
}

function reasonOf(error: unknown): string {
  if (isAborted(error)) return 'You stopped before the server answered. The user may have been changed.';
  return error instanceof UserFailure ? error.message : describeFailure(error);
}
