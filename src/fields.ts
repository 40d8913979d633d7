/**
 * The fields of a user, and what clients can do with each. The parsers, the files of users, the command line and the web
 * page take their lists from here, so this file imports nothing.
 */

interface Field {
  /** In TypeScript and in protobuf's JSON. */
  readonly name: string;
  /** In masks, filters, orders, violations and the columns of CSV. */
  readonly path: string;
  /** How a filter compares the field. Without it, a filter cannot name the field. */
  readonly filter?: 'id' | 'text' | 'email' | 'timestamp';
  /** Whether a list can be ordered by it. */
  readonly isOrdered?: true;
  /** Set for the texts that clients write: the kind of text that a form expects. */
  readonly input?: 'name' | 'email' | 'url' | 'text';
  /** The name that the page and the command line show. */
  readonly label?: string;
  readonly isRequired?: true;
  /** Whether `query` searches it. */
  readonly isSearched?: true;
}

const fields = [
  { name: 'id', path: 'id', filter: 'id' },
  {
    name: 'firstName',
    path: 'first_name',
    input: 'name',
    label: 'First name',
    isRequired: true,
    filter: 'text',
    isOrdered: true,
    isSearched: true,
  },
  {
    name: 'lastName',
    path: 'last_name',
    input: 'name',
    label: 'Last name',
    filter: 'text',
    isOrdered: true,
    isSearched: true,
  },
  {
    name: 'email',
    path: 'email',
    input: 'email',
    label: 'Email',
    isRequired: true,
    filter: 'email',
    isOrdered: true,
    isSearched: true,
  },
  { name: 'profileImageUrl', path: 'profile_image_url', input: 'url', label: 'Image URL', filter: 'text' },
  { name: 'attributes', path: 'attributes' },
  { name: 'displayName', path: 'display_name', filter: 'text' },
  { name: 'createTime', path: 'create_time', filter: 'timestamp', isOrdered: true },
  { name: 'updateTime', path: 'update_time', filter: 'timestamp', isOrdered: true },
  { name: 'etag', path: 'etag' },
] as const satisfies readonly Field[];

/** All fields, in the order of exports. */
export const userFields: readonly AnyField[] = fields;
type AnyField = (typeof fields)[number];

/** The texts that clients write. */
export const textFields = fields.filter((field) => 'input' in field);
export type TextName = (typeof textFields)[number]['name'];
export const emptyTexts = Object.fromEntries(textFields.map(({ name }) => [name, ''])) as Readonly<
  Record<TextName, ''>
>;

/** The fields that clients write: texts and the attributes. */
export const writableFields = fields.filter((field) => 'input' in field || field.name === 'attributes');
export const writablePaths: readonly string[] = writableFields.map(({ path }) => path);

/** The path of one attribute in masks and files, such as `attributes.city`. A key may contain dots. */
export const attributePath = (key: string) => `${attributePrefix}${key}`;
/** The key in the path of one attribute. Returns undefined for other paths. */
export const attributeKeyOf = (path: string) =>
  path.startsWith(attributePrefix) ? path.slice(attributePrefix.length) : undefined;
const attributePrefix = 'attributes.';

/**
 * The keys of an attribute as filters and orders write it, such as `attributes.address.city` or `attributes["a key"]`.
 * Returns undefined for other texts.
 */
export function parseAttributePath(text: string): string[] | undefined {
  if (!/^attributes(?:\.[A-Za-z_]\w*|\["(?:[^"\\]|\\.)*"\])+$/s.test(text)) return undefined;
  try {
    const keys = text.matchAll(/\.([A-Za-z_]\w*)|\[("(?:[^"\\]|\\.)*")\]/gs);
    // A string of JSON has the same escapes as one of CEL, except for rare ones.
    return Array.from(keys, ([, plain, quoted = '']) => plain ?? (JSON.parse(quoted) as string));
  } catch {
    return undefined;
  }
}

/** A list sorts the texts of an attribute only by their first code points, which bounds the size of page tokens. */
export const sortedCharactersMax = 100;

export type FilterField = Extract<AnyField, { filter: string }>['path'];
/** The fields that a filter may name, except attributes, and how each is compared. */
export const filterFields = Object.fromEntries(
  fields.flatMap((field) => ('filter' in field ? [[field.path, field.filter]] : [])),
) as Readonly<Record<FilterField, NonNullable<Field['filter']>>>;

export type OrderField = Extract<AnyField, { isOrdered: true }>['path'];
export const orderFields: readonly OrderField[] = fields.flatMap((field) => ('isOrdered' in field ? [field.path] : []));
