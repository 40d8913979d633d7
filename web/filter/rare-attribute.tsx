/** Finds the kind of an attribute that no user of the sample has, before somebody edits its chip. */
import { useEffect } from 'preact/hooks';
import type { Directory } from '../calls/directory.js';
import { type FieldPath, isSamePath, writePath } from './filter-chips.js';
import type { FieldKind } from './filter-fields.js';
import { sampleOf } from './user-sample.js';

const usersMax = 50;
// Without such users, the server looks at all of them. Then the attribute has no kind, and texts are as good as any other.
const timeoutMs = 3_000;

export interface RareAttributeProps {
  readonly directory: Directory;
  readonly path: FieldPath;
  onFound(kind: FieldKind): void;
}

export function RareAttribute({ directory, path, onFound }: RareAttributeProps) {
  useEffect(() => {
    const controller = new AbortController();
    void readKind(directory, path, controller.signal).then((kind) => {
      if (!controller.signal.aborted) onFound(kind);
    });
    return () => controller.abort();
  }, []);
  return <p class="popup-note">Loading…</p>;
}

async function readKind(directory: Directory, path: FieldPath, closed: AbortSignal): Promise<FieldKind> {
  const signal = AbortSignal.any([closed, AbortSignal.timeout(timeoutMs)]);
  try {
    const { users } = await directory.listUsers({ filter: `has(${writePath(path)})`, pageSize: usersMax }, { signal });
    return sampleOf(users).fields.find((field) => isSamePath(field.path, path))?.kind ?? 'text';
  } catch {
    return 'text';
  }
}
