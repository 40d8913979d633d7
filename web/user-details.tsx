/** The fields of a user that only the server sets. */
import { useState } from 'preact/hooks';
import type { User } from '../generated/users/v1/user.js';

export function UserDetails({ user }: { user: User }) {
  const [copied, setCopied] = useState('');
  const canCopy = navigator.clipboard !== undefined;
  return (
    <dl class="details">
      <div>
        <dt>ID</dt>
        <dd>
          <code>{user.id}</code>
          {canCopy ? (
            <button
              type="button"
              class="button small"
              onClick={() => {
                navigator.clipboard.writeText(user.id).then(
                  () => setCopied('Copied'),
                  () => setCopied('Not copied'),
                );
              }}
            >
              Copy<span class="visually-hidden"> the ID</span>
            </button>
          ) : null}
          <span role="status">{copied}</span>
        </dd>
      </div>
      <Moment label="Created" at={user.createTime} />
      <Moment label="Updated" at={user.updateTime} />
      <div>
        <dt>Version</dt>
        <dd>
          <code>{user.etag}</code>
        </dd>
      </div>
    </dl>
  );
}

const momentFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

function Moment({ label, at }: { label: string; at: Date | undefined }) {
  return (
    <div>
      <dt>{label}</dt>
      <dd>{at === undefined ? '' : <time dateTime={at.toISOString()}>{momentFormat.format(at)}</time>}</dd>
    </div>
  );
}
