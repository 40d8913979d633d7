/** The parts of statements that write a user only if it is the version that an etag requires. */
import { arrayParameter } from '../database/columns.js';
import type { RequiredVersion } from '../model/user.js';

/** The columns of `input` for the required versions. */
export const requiredColumns = 'required_version, required_time';

/** The array parameters from `$first` on for `requiredColumns`. */
export function requiredArrays(first: number): string {
  return `${arrayParameter(first, 'integer')}, ${arrayParameter(first + 1, 'timestamptz')}`;
}

/** The values for `requiredArrays`. */
export function requiredValues(rows: readonly RequiredVersion[]): unknown[][] {
  return [rows.map(({ version }) => version ?? null), rows.map(({ updateTime }) => updateTime ?? null)];
}

/** SQL for whether `found` is the version that `input` requires. Null requires nothing. */
export const isRequired = `(coalesce(input.required_version = found.version, true)
          and coalesce(input.required_time = found.update_time, true))`;
