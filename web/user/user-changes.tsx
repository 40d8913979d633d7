/** The recent changes of a user: what, when and by whom. */
import { useEffect, useState } from 'preact/hooks';
import { type UserChange, UserChange_Type } from '../../generated/users/v1/user.js';
import { CallError } from '../calls/call-error.js';
import type { Directory } from '../calls/directory.js';
import { describeFailure } from '../calls/save-user.js';
import { formatMoment, formatWholeTime } from '../text/format.js';

const firstCount = 5;
const moreCount = 50;

export interface UserChangesProps {
  readonly directory: Directory;
  readonly id: string;
  /** Differs after each change of the user. */
  readonly etag: string;
}

interface Shown {
  readonly changes: readonly UserChange[];
  /** Empty if there are no more. */
  readonly nextPageToken: string;
}

export function UserChanges({ directory, id, etag }: UserChangesProps) {
  const [shown, setShown] = useState<Shown>();
  const [problem, setProblem] = useState('');
  const [isLoading, setLoading] = useState(false);

  async function load(before: Shown | undefined, isCurrent: () => boolean = () => true): Promise<void> {
    setLoading(true);
    try {
      const { changes, nextPageToken } = await directory.listUserChanges({
        id,
        pageSize: before === undefined ? firstCount : moreCount,
        pageToken: before?.nextPageToken ?? '',
      });
      if (!isCurrent()) return;
      const next = { changes: [...(before?.changes ?? []), ...changes], nextPageToken };
      // The user may have changed while this loaded more of the earlier list.
      setShown((now) => (before === undefined || now === before ? next : now));
      setProblem('');
    } catch (error) {
      // A server before this call existed.
      if (isCurrent() && !(error instanceof CallError && error.code === 'UNIMPLEMENTED')) {
        setProblem(describeFailure(error));
      }
    } finally {
      if (isCurrent()) setLoading(false);
    }
  }

  useEffect(() => {
    let isUnmounted = false;
    void load(undefined, () => !isUnmounted);
    return () => {
      isUnmounted = true;
    };
  }, [directory, id, etag]);

  if (shown === undefined && problem === '') return null;
  return (
    <section class="changes" aria-labelledby="changes-title">
      <h3 id="changes-title">Recent changes</h3>
      {shown?.changes.length === 0 ? <p class="hint">The change log contains no change of this user.</p> : null}
      <ol>
        {shown?.changes.map((change, index) => (
          <Change key={index} change={change} own={directory.caller.actor} />
        ))}
      </ol>
      {problem === '' ? null : (
        <p class="error" role="alert">
          {problem}
        </p>
      )}
      {shown === undefined || shown.nextPageToken === '' ? null : (
        <button
          type="button"
          class="button small"
          aria-disabled={isLoading}
          onClick={() => {
            if (!isLoading) void load(shown);
          }}
        >
          {isLoading ? 'Loading…' : 'Show more'}
        </button>
      )}
    </section>
  );
}

const texts: Readonly<Partial<Record<UserChange_Type, string>>> = {
  [UserChange_Type.TYPE_CREATED]: 'Created',
  [UserChange_Type.TYPE_UPDATED]: 'Updated',
  [UserChange_Type.TYPE_DELETED]: 'Deleted',
};

function Change({ change: { type, changeTime, actor }, own }: { change: UserChange; own: string }) {
  return (
    <li>
      <span>
        {texts[type] ?? 'Changed'}
        {actor === '' ? null : actor === own ? (
          <> by you</>
        ) : (
          <>
            {' by '}
            <bdi class="mono">{actor}</bdi>
          </>
        )}
      </span>
      {changeTime === undefined ? null : (
        <time class="faint numeric" dateTime={changeTime.toISOString()} title={formatWholeTime(changeTime)}>
          {formatMoment(changeTime)}
        </time>
      )}
    </li>
  );
}
