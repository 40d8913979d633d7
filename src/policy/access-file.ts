/**
 * Reads the access file: whose tokens are accepted, and which roles each caller has. All problems are reported at once,
 * each with its path in the file and what is allowed.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import path from 'node:path';
import { isScalar, LineCounter, parseDocument, visit } from 'yaml';
import type { z } from 'zod';
import { type AccessFile, accessFileSchema } from './access-schema.js';

export class AccessFileError extends Error {
  override readonly name = 'AccessFileError';

  constructor(readonly problems: readonly string[]) {
    super(problems.join('\n'));
  }
}

const fileBytesMax = 1024 * 1024;
// A broken file may have as many problems as lines.
const problemsMax = 50;

/** Throws AccessFileError. */
export function readAccessFile(file: string): AccessFile {
  let text: string;
  try {
    text = readText(file);
  } catch (error) {
    throw new AccessFileError([`The access file ${file} cannot be read: ${messageOf(error)}.`]);
  }
  return parseAccessFile(text, path.dirname(path.resolve(file)));
}

/** Relative paths in the file start at `folder`. Throws AccessFileError. */
export function parseAccessFile(text: string, folder: string): AccessFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, strict: true });
  const problems = document.errors.map(({ message, pos }) => `line ${lines.linePos(pos[0]).line}: ${message}`);
  visit(document, {
    Pair(_, { key }) {
      // Objects in JavaScript would lose this key, and the rule with it.
      if (String(key) === '__proto__') problems.push('the key __proto__ is not allowed');
      // YAML reads 007 as 7, and the rule would be for another key.
      if (isScalar(key) && typeof key.value !== 'string') {
        problems.push(`the key ${key.source ?? ''} needs quotes, because it is not a text without them`);
      }
    },
  });
  if (problems.length > 0) throw accessFileError(problems);
  let content: unknown;
  try {
    // Aliases could make a small file very large.
    content = document.toJS({ maxAliasCount: 0 });
  } catch {
    throw accessFileError(['aliases (*name) are not allowed']);
  }
  // A file that was cut off would otherwise show all attributes to everybody.
  if (content === null)
    throw new AccessFileError(['The access file must not be empty. Write {} for a file without rules.']);
  const result = accessFileSchema(content, folder).safeParse(content);
  if (result.success) return result.data;
  throw accessFileError(result.error.issues.map(problemOf));
}

function readText(file: string): string {
  const descriptor = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(fileBytesMax + 1);
    let end = 0;
    for (let read = -1; read !== 0 && end < buffer.length; end += read) {
      read = readSync(descriptor, buffer, end, buffer.length - end, null);
    }
    if (end > fileBytesMax) throw new Error(`it has more than ${fileBytesMax} bytes`);
    return buffer.toString('utf8', 0, end);
  } finally {
    closeSync(descriptor);
  }
}

function accessFileError(problems: readonly string[]): AccessFileError {
  const more = problems.length - problemsMax;
  const shown = problems.slice(0, problemsMax).map((problem) => `In the access file, ${problem}.`);
  return new AccessFileError(more > 0 ? [...shown, `The access file has ${more} more problems.`] : shown);
}

function problemOf(issue: z.core.$ZodIssue): string {
  const where = pathOf(issue.path);
  return `${where === '' ? 'the top level' : where} ${issue.message}`;
}

/** As in `callers[1].when`. */
function pathOf(steps: readonly PropertyKey[]): string {
  return steps.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    const name = String(step);
    if (!/^\w+$/.test(name)) return `${text}[${JSON.stringify(name)}]`;
    return text === '' ? name : `${text}.${name}`;
  }, '');
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
