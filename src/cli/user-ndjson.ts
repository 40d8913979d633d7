/**
 * Users as NDJSON: one on a line, as protobuf maps them to JSON; snake_case names are read, too.
 */
import type { User } from '../client/index.js';
import { replaceInexactNumbers } from '../json.js';
import { UnreadableFile } from './file-text.js';
import { isObject, readJson } from './json.js';
import { safeJson } from './text.js';
import {
  type ColumnOptions,
  createUserDraft,
  type Draft,
  errorMember,
  type Row,
  type RowProblem,
  type Target,
  targetOf,
} from './user-columns.js';
import type { UserFile } from './user-file.js';

// A user's longest fields are 20 KB; a file without line breaks is none of ours and must not fill the memory.
const lineLengthMax = 1_048_576;

// Names of attributes are data, and may be another one in each line.
const namesMax = 1_000;

/** Whole lines. */
export function formatNdjsonUsers(users: readonly User[]): string {
  return users.map((user) => `${safeJson(user)}\n`).join('');
}

/** Every row stands for itself: whatever is wrong with a line is that row's problem. */
export function readNdjsonUsers(text: AsyncIterable<string>, options: ColumnOptions): UserFile {
  // The same few names come with every line.
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

/** A line that is no object has to go somewhere, too. A number that cannot be read keeps its digits, as a text. */
function membersOf(original: string): Record<string, unknown> {
  const value = readJson(replaceInexactNumbers(original, (literal) => `"${literal}"`));
  return isObject(value) ? value : { text: original.trim() };
}

function userOf(original: string, find: (name: string) => Target, ignoresUnknown = false): Draft {
  const value = readJson(original);
  const invalid = (field: string, message: string) => ({ problem: { field, reason: 'INVALID_ROW', message } });
  if (value === undefined) return invalid('', 'The line is not JSON.');
  if (!isObject(value)) return invalid('', 'The line is not a JSON object; a file has one user on each line.');
  const draft = createUserDraft();
  for (const [name, member] of Object.entries(value)) {
    if (name === errorMember) continue;
    const target = find(name);
    if (target === undefined && !ignoresUnknown) {
      return invalid(name, 'There is no such field; --column and --ignore-unknown-columns help.');
    }
    draft.setValue(target, member);
  }
  return draft.finish();
}

/** By hand: readline also breaks lines at U+2028 and U+2029, which JSON's texts may hold. */
async function* readLines(text: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = '';
  let line = 1;
  for await (const part of text) {
    const lines = (rest + part).split('\n');
    rest = lines.pop() ?? '';
    line += lines.length;
    yield* lines;
    if (rest.length > lineLengthMax)
      throw new UnreadableFile('a line is longer than 1 MiB; NDJSON has one user on each', line);
  }
  yield rest;
}
