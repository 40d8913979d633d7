/** A user to be read: the email, the attributes, the times and the recent changes. */
import type { ComponentChildren } from 'preact';
import type { User } from '../../generated/users/v1/user.js';
import { AttributeValue } from '../attributes/attribute-value.js';
import type { Directory } from '../calls/directory.js';
import { formatMoment, formatWholeTime } from '../text/format.js';
import { BreakableText } from '../ui/breakable-text.js';
import { CopyButton } from '../ui/copy-button.js';
import { sortedByKey } from '../users/attributes.js';
import { UserChanges } from './user-changes.js';

export interface UserProfileProps {
  readonly directory: Directory;
  readonly user: User;
}

export function UserProfile({ directory, user }: UserProfileProps) {
  const attributes = sortedByKey(user.attributes ?? {});
  return (
    <div class="stack">
      <dl class="facts">
        <Fact label="Email">
          <a href={mailLinkOf(user.email)}>
            <BreakableText text={user.email} />
          </a>
          <CopyButton text={user.email} what="the email" />
        </Fact>
        {user.profileImageUrl === '' ? null : (
          <Fact label="Image URL">
            <AttributeValue value={user.profileImageUrl} />
          </Fact>
        )}
      </dl>
      <section aria-labelledby="attributes-title">
        <h3 id="attributes-title">Attributes</h3>
        {attributes.length === 0 ? <p class="hint">This user has no attributes.</p> : null}
        <dl class="facts">
          {attributes.map(([key, value]) => (
            <Fact key={key} label={key === '' ? <em>(empty key)</em> : <BreakableText text={key} />}>
              <AttributeValue value={value} />
            </Fact>
          ))}
        </dl>
      </section>
      <section aria-labelledby="details-title">
        <h3 id="details-title">Details</h3>
        <dl class="facts">
          <Fact label="ID">
            <code>{user.id}</code>
            <CopyButton text={user.id} what="the ID" />
          </Fact>
          <Fact label="Created">
            <Moment at={user.createTime} />
          </Fact>
          <Fact label="Updated">
            <Moment at={user.updateTime} />
          </Fact>
        </dl>
      </section>
      {directory.may('listUserChanges') && <UserChanges directory={directory} id={user.id} etag={user.etag} />}
    </div>
  );
}

function Fact({ label, children }: { label: ComponentChildren; children: ComponentChildren }) {
  return (
    <div>
      <dt dir="auto">{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Moment({ at }: { at: Date | undefined }) {
  if (at === undefined) return null;
  return (
    <time class="numeric" dateTime={at.toISOString()} title={formatWholeTime(at)}>
      {formatMoment(at)}
    </time>
  );
}

function mailLinkOf(email: string): string {
  return `mailto:${encodeURIComponent(email).replaceAll('%40', '@')}`;
}
