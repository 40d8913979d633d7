/** The commands for the user whose panel is open. */
import type { User } from '../../generated/users/v1/user.js';
import { type Command, useCommands } from '../commands/commands.js';
import { canCopy, copy } from '../ui/copy-button.js';
import { BinIcon, CopyIcon, RenameIcon } from '../ui/icons.js';

export interface UserCommandsOptions {
  /** Undefined while a user is created. */
  readonly user: User | undefined;
  /** A command without a function is not offered. */
  readonly onEdit: (() => void) | undefined;
  readonly onDelete: (() => void) | undefined;
}

export function useUserCommands({ user, onEdit, onDelete }: UserCommandsOptions): void {
  useCommands(
    () => (user === undefined ? [] : userCommands({ user, onEdit, onDelete })),
    [user, onEdit === undefined, onDelete === undefined],
  );
}

function userCommands({ user, onEdit, onDelete }: UserCommandsOptions & { readonly user: User }): Command[] {
  const { id, email, displayName } = user;
  const offered: readonly (Omit<Command, 'group'> | false)[] = [
    onEdit !== undefined && {
      id: 'edit-user',
      label: `Edit ${displayName}`,
      words: 'change',
      icon: RenameIcon,
      run: onEdit,
    },
    canCopy() && { id: 'copy-email', label: 'Copy email', icon: CopyIcon, run: () => copy(email, 'the email') },
    canCopy() && { id: 'copy-id', label: 'Copy ID', icon: CopyIcon, run: () => copy(id, 'the ID') },
    onDelete !== undefined && {
      id: 'delete-user',
      label: `Delete ${displayName}…`,
      words: 'remove erase',
      icon: BinIcon,
      run: onDelete,
    },
  ];
  return offered.filter((command) => command !== false).map((command) => ({ ...command, group: 'User' }));
}
