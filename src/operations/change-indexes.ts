/** Builds or drops indexes for lists, for an operator who waits for it. */
import type { Database } from '../database/database.js';
import {
  buildListIndex,
  dropListIndex,
  forbiddenBuilds,
  type ListIndex,
  type ListIndexName,
  listIndexes,
} from '../store/list-indexes.js';

export interface IndexChange {
  readonly action: 'build' | 'drop';
  readonly names: readonly ListIndexName[];
  /** Called for each index that was built or dropped. */
  onChanged(name: ListIndexName): Promise<void>;
}

/** Throws an error that says why an index cannot be built, and what to do. */
export async function changeIndexes(
  database: Database,
  { action, names, onChanged }: IndexChange,
  signal: AbortSignal,
): Promise<void> {
  for (const index of listIndexes.filter(({ name }) => names.includes(name))) {
    const isChanged =
      action === 'drop' ? await dropListIndex(database, index, signal) : await build(database, index, signal);
    if (isChanged) await onChanged(index.name);
  }
}

async function build(database: Database, index: ListIndex, signal: AbortSignal): Promise<boolean> {
  const outcome = await buildListIndex(database, index, signal);
  if (outcome === 'exists' || outcome === 'built') return outcome === 'built';
  throw new Error(
    outcome === 'busy' || outcome === 'building'
      ? 'Another process is building an index. Try again when `roster indexes` shows that it has finished.'
      : `${forbiddenBuilds[outcome]}.`,
  );
}
