/** The parts of the access file's form: texts, lists, mappings and files, each with an error that says what is allowed. */
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';

const textCharactersMax = 2048;

/** `description` continues "must be". */
const expected = (description: string) => ({
  error: ({ input }: { readonly input?: unknown }) => (input === undefined ? 'is required' : `must be ${description}`),
});

export function text(): z.ZodString {
  return z
    .string(expected('a text'))
    .min(1, 'must not be empty')
    .max(textCharactersMax, `must have at most ${textCharactersMax} characters`);
}

/** A mapping with only these keys. */
export function object<Shape extends z.ZodRawShape>(shape: Shape) {
  const keys = Object.keys(shape).join(', ');
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') return `must be a mapping with some of the keys ${keys}`;
      const unknown = issue.keys.map((key) => JSON.stringify(key)).join(', ');
      return `must not have ${issue.keys.length > 1 ? 'the keys' : 'the key'} ${unknown}; allowed are ${keys}`;
    },
  });
}

export function list<T extends z.ZodType>(element: T) {
  return z.array(element, expected('a list'));
}

/** One value, or a list of them. */
export function oneOrMore<T extends z.ZodType>(element: T) {
  return z.preprocess((value) => (Array.isArray(value) || value === undefined ? value : [value]), list(element));
}

/** A mapping with any keys of this form. Empty if it is missing. */
export function mapOf<Value extends z.ZodType>(key: z.ZodString, value: Value) {
  return z
    .preprocess(
      (content) => (isMapping(content) ? new Map(Object.entries(content)) : content),
      z.map(key, value, expected('a mapping')),
    )
    .default(new Map());
}

/** One of some names, which the error lists. */
export function oneOf<const Name extends string>(names: readonly Name[], what: string) {
  const description = names.length === 0 ? `${what}, but the file has none` : `${what}: ${names.join(', ')}`;
  return z.custom<Name>((value) => names.some((name) => name === value), `must be ${description}`);
}

/** A file that can be read. A relative path starts at `folder`. */
export function readableFile(folder: string) {
  return text()
    .transform((name) => path.resolve(folder, name))
    .refine(isReadable, { error: ({ input }) => `must be a file that can be read; ${input} cannot` });
}

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

export const httpsForm = 'an https URL, or an http URL of this machine';

export function isHttps(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, hostname, username, password } = new URL(url);
  if (username !== '' || password !== '') return false;
  return (
    protocol === 'https:' || (protocol === 'http:' && /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(hostname))
  );
}

export const httpsOriginForm = 'must be the origin of an https URL, such as https://oauth2.example.com';

/** Whether the text is only the origin of such a URL: no path, and nothing that could add to a header. */
export function isHttpsOrigin(text: string): boolean {
  return isHttps(text) && new URL(text).origin === text && /^[\w.:/[\]-]+$/.test(text);
}

export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
