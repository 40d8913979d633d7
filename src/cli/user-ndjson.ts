/** Reads and writes users as NDJSON: one user on each line, as protobuf JSON. Also reads snake_case names. */
import type { User } from '../client/index.js';
import { replaceInexactNumbers } from '../json.js';
import { safeJson } from '../safe-text.js';
import {
  type ColumnOptions,
  createUserDraft,
  type Draft,
  errorMember,
  type Row,
  type RowProblem,
  type Target,
  targetOf,
} from '../user-files/columns.js';
import { UnreadableFile } from '../user-files/file-text.js';
import { isObject, readJson } from '../user-files/read-json.js';
import type { UserFile } from './user-file.js';

// A user's longest fields take 20 KB. A file without line breaks must not fill the memory.
const lineLengthMax = 1_048_576;

// Bounds the cache, because attribute names are data and may differ in each line.
const namesMax = 1_000;

/** Returns whole lines. */
export function formatNdjsonUsers(users: readonly User[]): string {
  return users.map((user) => `${safeJson(user)}\n`).join('');
}

/** If a line is invalid, only its row has a problem. */
export function readNdjsonUsers(text: AsyncIterable<string>, options: ColumnOptions): UserFile {
  // Most files have the same few names in every line.
  const targets = new Map<string, Target>();
  function find(name: string): Target {
    const known = targets.get(name);
    if (known !== undefined) return known;
    const target = targetOf(name, options);
    if (target !== undefined && targets.size < namesMax) targets.set(name, target);
    return target;
  }

  async function* readRows(): AsyncGenerator<Row> {
    let line = 0;
    for await (const original of readLines(text)) {
      line++;
      if (/\S/.test(original)) yield { line, original, ...userOf(original, find, options.ignoreUnknownColumns) };
    }
  }

  return {
    rows: readRows(),
    formatRejected({ original }: Row, problem: RowProblem): string {
      const { [errorMember]: _, ...members } = membersOf(String(original));
      return `${safeJson({ [errorMember]: problem, ...members })}\n`;
    },
  };
}

/** A line that is not an object becomes the member `text`. An inexact number becomes a string, which keeps its digits. */
function membersOf(original: string): Record<string, unknown> {
  const value = readJson(replaceInexactNumbers(original, (literal) => `"${literal}"`));
  return isObject(value) ? value : { text: original.trim() };
}

function userOf(original: string, find: (name: string) => Target, ignoresUnknown = false): Draft {
  const value = readJson(original);
  const invalid = (field: string, message: string) => ({ problem: { field, reason: 'INVALID_ROW', message } });
  if (value === undefined) return invalid('', 'The line is not JSON.');
  if (!isObject(value)) return invalid('', 'The line is not a JSON object. Each line must be one user.');
  const draft = createUserDraft();
  for (const [name, member] of Object.entries(value)) {
    if (name === errorMember) continue;
    const target = find(name);
    if (target === undefined && !ignoresUnknown) {
      return invalid(name, 'There is no such field. Use --column or --ignore-unknown-columns.');
    }
    draft.setValue(target, member);
  }
  return draft.finish();
}

/** Avoids readline, which also breaks lines at U+2028 and U+2029. JSON strings may contain these. */
async function* readLines(text: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  let line = 1;
  for await (const part of text) {
    const lines = (rest + part).split('\n');
    rest = lines.pop() ?? '';
    line += lines.length;
    yield* lines;
    if (rest.length > lineLengthMax)
      throw new UnreadableFile('a line is longer than 1 MiB; each line must be one user', line);
  }
  yield rest;
}
