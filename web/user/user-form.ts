/** The state of a user form: the version that it started from, the edits, and the problems of its fields. */
import { useState } from 'preact/hooks';
import type { User } from '../../generated/users/v1/user.js';
import { textFields } from '../../src/fields.js';
import { CallError } from '../calls/call-error.js';
import { type AttributeProblem, type AttributeRow, attributeRowsOf, readAttributes } from '../users/attributes.js';
import {
  differences,
  fieldsOf,
  type JsonObject,
  noFields,
  textsOf,
  type UserFields,
  type UserTexts,
} from '../users/user-fields.js';

export interface UserForm {
  /** The version that the form started from, whose etag an update sends; undefined for a new user. */
  readonly base: User | undefined;
  readonly baseFields: UserFields;
  readonly texts: UserTexts;
  readonly rows: readonly AttributeRow[];
  /** The keys of attributes that the caller may not write. */
  readonly protectedKeys: ReadonlySet<string>;
  /** The contents of the form; undefined if a row of the attributes is invalid. */
  readonly fields: UserFields | undefined;
  readonly isDirty: boolean;
  /** The problems of the rows that were invalid at the last attempt to save. */
  readonly rowProblems: ReadonlyMap<number, AttributeProblem>;
  /** The server's violations, or those that the page has found itself, by the field's path, until the field is edited; '' is for all others. */
  readonly violations: Readonly<Record<string, string>>;
  /** Counts the failed attempts to save. */
  readonly failedSaves: number;
  /** Replaces the contents of the form. */
  show(from: User, fields: UserFields): void;
  setText(field: (typeof textFields)[number], text: string): void;
  setRows(rows: readonly AttributeRow[]): void;
  /** Shows the problems of the rows, and those of the texts that the page can find itself. */
  showProblems(): void;
  /** Returns false if the error does not concern fields. */
  showViolations(error: unknown): boolean;
  clearViolations(): void;
}

/** The contents of the form that the user edits. */
export type Draft = Pick<UserForm, 'texts' | 'rows'>;

/** `attributes` are those that a new user starts with. Later values of the arguments are ignored, except `protectedKeys`. */
export function useUserForm(
  user: User | undefined,
  protectedKeys: ReadonlySet<string>,
  draft: Draft | undefined,
  attributes: JsonObject = {},
): UserForm {
  const [base, setBase] = useState(user);
  const [newFields] = useState({ ...noFields, attributes });
  const baseFields = base === undefined ? newFields : fieldsOf(base);
  const [texts, setTexts] = useState<UserTexts>(() => draft?.texts ?? textsOf(baseFields));
  const [rows, setRows] = useState<readonly AttributeRow[]>(
    () => draft?.rows ?? attributeRowsOf(baseFields.attributes),
  );
  const [invalidRowIds, setInvalidRowIds] = useState<ReadonlySet<number>>(new Set());
  const [violations, setViolations] = useState<Readonly<Record<string, string>>>({});
  const [failedSaves, setFailedSaves] = useState(0);
  const read = readAttributes(rows, protectedKeys);
  const fields =
    read.problems === undefined ? { ...trimmed(texts, baseFields), attributes: read.attributes } : undefined;

  const countFailedSave = () => setFailedSaves((before) => before + 1);
  /** A violation applies only to the value that was sent. */
  const clearViolation = (path: string) => setViolations(({ [path]: _, '': _others, ...rest }) => rest);

  return {
    base,
    baseFields,
    texts,
    rows,
    protectedKeys,
    fields,
    isDirty: fields === undefined || differences(baseFields, fields).length > 0,
    rowProblems: new Map([...(read.problems ?? [])].filter(([id]) => invalidRowIds.has(id))),
    violations,
    failedSaves,
    show(from, shown) {
      setBase(from);
      setTexts(textsOf(shown));
      setRows(attributeRowsOf(shown.attributes));
      setViolations({});
    },
    setText({ path, name }, text) {
      setTexts((before) => ({ ...before, [name]: text }));
      clearViolation(path);
    },
    setRows(changed) {
      setRows(changed);
      clearViolation('attributes');
    },
    showProblems() {
      setInvalidRowIds(new Set(read.problems?.keys()));
      setViolations(violationsOf(trimmed(texts, baseFields), base && baseFields));
      countFailedSave();
    },
    showViolations(error) {
      if (!(error instanceof CallError) || error.violations.length === 0) return false;
      setViolations(violationsByPath(error));
      countFailedSave();
      return true;
    },
    clearViolations: () => setViolations({}),
  };
}

/** The space around a pasted text is never meant. A text that was not edited stays as it is. */
function trimmed(texts: UserTexts, base: UserTexts): UserTexts {
  const sent = { ...texts };
  for (const { name } of textFields) if (sent[name] !== base[name]) sent[name] = sent[name].trim();
  return sent;
}

/** The usual mistakes, in the server's words. The server checks the texts only after the rows are valid. */
function violationsOf(texts: UserTexts, base: UserTexts | undefined): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { path, name, input, ...field } of textFields) {
    const text = texts[name];
    if (text === base?.[name]) continue;
    if (text === '') {
      if ('isRequired' in field) found[path] = 'is required';
    } else if (input === 'email' && !/^\S.*@\S+$/.test(text)) {
      found[path] = 'must be one email address, like ada@example.com';
    } else if (input === 'url' && !/^https?:\/\/[^\s/]\S*$/i.test(text)) {
      found[path] = 'must be an absolute http or https URL, or empty';
    }
  }
  return found;
}

function violationsByPath({ violations }: CallError): Record<string, string> {
  const named: Record<string, string> = {};
  const others: string[] = [];
  for (const { field, description } of violations) {
    const path = field.replace(/^user\./, '');
    if (path === 'attributes' || textFields.some((known) => known.path === path)) named[path] ??= description;
    else others.push(`${field} ${description}`);
  }
  return others.length > 0 ? { ...named, '': `${others.join('; ')}.` } : named;
}
