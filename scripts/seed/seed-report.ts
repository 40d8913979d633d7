/** Says what `npm run seed` has done. */
import { RowsRejected } from '../../src/cli/failure.js';
import { count } from '../../src/cli/progress.js';
import type { ImportUsersResponse } from '../../src/client/index.js';

export interface SeedRun {
  readonly seed: number;
  readonly ms: number;
  readonly json: boolean;
}

/** Returns whole lines. Throws if the server rejected a person, because it has then written nobody. */
export function seedReport(response: ImportUsersResponse, { seed, ms, json }: SeedRun): string {
  const { committed, created, skipped, rejected, errors } = response;
  if (!committed) {
    const [first] = errors;
    const why = first === undefined ? '' : ` Person ${first.row + 1}: ${first.field}: ${first.message}`;
    throw new RowsRejected(`The server rejected ${count(rejected)} of the people, so it wrote nobody.${why}`);
  }
  if (json) return `${JSON.stringify({ created, skipped, seed, seconds: ms / 1000 })}\n`;
  const rate = count(Math.round((created + skipped) / (ms / 1000)));
  const added = `Added ${count(created)} people in ${(ms / 1000).toFixed(1)} s (${rate}/s).\n`;
  if (skipped === 0) return added;
  const hint = `For other people, use another seed, such as --seed ${seed + 1}.`;
  return `${added}Skipped ${count(skipped)}, because the directory has their emails already. ${hint}\n`;
}
