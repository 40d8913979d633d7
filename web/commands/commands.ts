/**
 * The commands that the page offers at the moment, for the command palette. Each part of the page adds its own while it
 * is shown.
 */
import type { FunctionComponent } from 'preact';
import { useEffect } from 'preact/hooks';

export interface Command {
  /** Unique among the commands, such as `new-user`. */
  readonly id: string;
  /** Says what the command does, such as "New user". */
  readonly label: string;
  /** The heading above the command. The default is "Commands". */
  readonly group?: 'User' | 'Selection' | 'Views';
  /** More words that find the command, such as "add create". */
  readonly words?: string;
  /** The key that also runs it: as in KeyboardEvent.key, without Ctrl. Add it to keys.ts, too. */
  readonly key?: string;
  readonly icon?: FunctionComponent;
  /** Whether the palette offers it before the other commands of its group. */
  readonly isFirst?: boolean;
  run(): void;
}

const commands = new Set<Command>();

/** Returns a function that removes the commands again. */
function addCommands(added: readonly Command[]): () => void {
  for (const command of added) commands.add(command);
  return () => {
    for (const command of added) commands.delete(command);
  };
}

/** The order in which parts of the page add their commands depends on what they wait for. */
export function commandsNow(): readonly Command[] {
  const all = [...commands];
  return [...all.filter(({ isFirst }) => isFirst), ...all.filter(({ isFirst }) => !isFirst)];
}

/** Adds commands while the component is shown. As with useEffect, they are replaced if one of `inputs` changes. */
export function useCommands(read: () => readonly Command[], inputs: readonly unknown[]): void {
  useEffect(() => addCommands(read()), inputs);
}
