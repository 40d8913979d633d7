/**
 * A user's initials on a colour that never changes. The page shows no profile images, because it sends requests only to
 * its own server.
 */
import type { User } from '../../generated/users/v1/user.js';

export function Avatar({ user }: { user: Pick<User, 'id' | 'firstName' | 'lastName'> }) {
  return (
    <span class="avatar" style={{ '--hue': hueOf(user.id) }} aria-hidden="true">
      {initialsOf(user)}
    </span>
  );
}

function initialsOf({ firstName, lastName }: Pick<User, 'firstName' | 'lastName'>): string {
  const first = (name: string) => [...name.trim()][0] ?? '';
  return `${first(firstName)}${first(lastName)}`.toUpperCase();
}

/** Uses the random end of the id. A reader can distinguish twelve hues. */
function hueOf(id: string): number {
  return (Number.parseInt(id.slice(-4), 16) % 12) * 30;
}
