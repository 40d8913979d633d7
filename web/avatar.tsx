/** A user's initials on a colour that stays theirs. Their own picture is on another host, which this page never asks. */
import type { User } from '../generated/users/v1/user.js';

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

/** Of the end of the id, where it is random. Twelve hues that can be told apart. */
function hueOf(id: string): number {
  return (Number.parseInt(id.slice(-4), 16) % 12) * 30;
}
