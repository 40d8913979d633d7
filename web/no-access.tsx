/** Tells a caller that it may not read the list. */
import type { Caller } from './calls/caller.js';
import { EmptyState } from './ui/empty-state.js';
import { LockIcon } from './ui/icons.js';

export function NoAccess({ caller: { actor, name } }: { caller: Caller }) {
  return (
    <main class="list-view" aria-label="Users">
      <div class="grid-frame">
        <EmptyState icon={LockIcon} title="You may not see the list">
          <p class="soft">
            You are signed in as <bdi>{name ?? actor}</bdi>. None of your roles lets you see users.
          </p>
          <p class="soft">
            Ask the administrator of this directory for the role <code>reader</code>. Give this name:{' '}
            <code>{actor}</code>
          </p>
        </EmptyState>
      </div>
    </main>
  );
}
