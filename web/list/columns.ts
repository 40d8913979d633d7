/** The columns of the list: which there are, what a cell shows, how wide a column is, and how it is sorted. */
import type { User } from '../../generated/users/v1/user.js';
import { attributeKeyOf, attributePath } from '../../src/fields.js';
import { formatCount, formatTime, formatTimeText, formatWholeTime } from '../text/format.js';
import type { JsonValue } from '../users/user-fields.js';
import { isAttributeOrder, orderByAttribute } from '../users/user-order.js';

export interface Column {
  readonly id: string;
  readonly label: string;
  /** The fields or the attribute that sort the list by this column. The first one is the main one. */
  readonly orders: readonly { readonly by: string; readonly label: string }[];
  readonly kind: 'name' | 'text' | 'time' | 'attribute';
  readonly minPx: number;
  /** Wide enough for most texts without truncation. */
  readonly goodPx: number;
  /** The column's share of the remaining width. */
  readonly share: number;
  textOf(user: User): string;
  /** The whole text, for a tooltip. */
  wholeTextOf(user: User): string;
}

/** Wide enough for most values of attributes. */
const valuePx = 150;

const ownColumns: readonly Column[] = [
  {
    ...textColumn('name', 'Name', ({ displayName }) => displayName),
    kind: 'name',
    minPx: 180,
    goodPx: 200,
    share: 1.5,
    orders: [
      { by: 'first_name', label: 'first name' },
      { by: 'last_name', label: 'last name' },
    ],
  },
  {
    ...textColumn('email', 'Email', ({ email }) => email),
    minPx: 160,
    goodPx: 240,
    // Emails are longer than most names and values.
    share: 2.5,
    orders: [{ by: 'email', label: '' }],
  },
  {
    ...textColumn('first_name', 'First name', ({ firstName }) => firstName),
    orders: [{ by: 'first_name', label: '' }],
  },
  { ...textColumn('last_name', 'Last name', ({ lastName }) => lastName), orders: [{ by: 'last_name', label: '' }] },
  { ...textColumn('id', 'ID', ({ id }) => id), minPx: 160, goodPx: 160, share: 1.5 },
  timeColumn('create_time', 'Created', ({ createTime }) => createTime),
  timeColumn('update_time', 'Updated', ({ updateTime }) => updateTime),
];
const columnsById = new Map(ownColumns.map((column) => [column.id, column]));
export const ownColumnIds: readonly string[] = [...columnsById.keys()];

/** Columns of attributes are created when they are first needed, and stay the same object. */
export function columnOf(id: string): Column | undefined {
  const known = columnsById.get(id);
  const key = attributeKeyOf(id);
  if (known !== undefined || key === undefined) return known;
  const attributeOf = ({ attributes = {} }: User): JsonValue | undefined =>
    Object.hasOwn(attributes, key) ? attributes[key] : undefined;
  const column: Column = {
    ...textColumn(id, key, (user) => attributeText(attributeOf(user))),
    kind: 'attribute',
    orders: [{ by: orderByAttribute([key]), label: '' }],
    wholeTextOf: (user) => wholeAttributeText(attributeOf(user)),
  };
  columnsById.set(id, column);
  return column;
}

/** Whether the server sorts all users for each page. */
export function isSlowOrder(by: string): boolean {
  return by === 'update_time' || isAttributeOrder(by);
}

const columnsMax = 100;

/**
 * Reads the ids of columns from an address or from the browser's storage. Drops unknown ones, and adds the name. Returns
 * undefined if none is known.
 */
export function readColumnIds(ids: readonly unknown[]): readonly string[] | undefined {
  const known = ids.filter((id) => typeof id === 'string').filter((id) => columnOf(id) !== undefined);
  const start = known.includes('name') ? [] : ['name'];
  return known.length === 0 ? undefined : [...new Set([...start, ...known])].slice(0, columnsMax);
}

function textColumn(id: string, label: string, textOf: (user: User) => string): Column {
  return { id, label, kind: 'text', orders: [], minPx: 112, goodPx: valuePx, share: 1, textOf, wholeTextOf: textOf };
}

function timeColumn(
  id: 'create_time' | 'update_time',
  label: string,
  timeOf: (user: User) => Date | undefined,
): Column {
  return {
    ...textColumn(id, label, (user) => formatTime(timeOf(user))),
    kind: 'time',
    orders: [{ by: id, label: '' }],
    minPx: 104,
    goodPx: 104,
    share: 0,
    wholeTextOf: (user) => formatWholeTime(timeOf(user)),
  };
}

const textMax = 200;

/** Short, for a cell. */
export function attributeText(value: JsonValue | undefined): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'boolean') return value ? 'Yes' : 'No';
  if (typeof value === 'string') return formatTimeText(value) ?? value.slice(0, textMax);
  if (typeof value === 'number') return String(value);
  if (Array.isArray(value)) return value.map(nestedText).join(', ').slice(0, textMax);
  const parts = Object.entries(value).map(([key, item]) => `${key}: ${nestedText(item)}`);
  return parts.join(', ').slice(0, textMax);
}

/** Objects and lists inside others are only counted. The panel of the user shows what they contain. */
function nestedText(value: JsonValue): string {
  if (typeof value !== 'object' || value === null) return attributeText(value);
  const count = Object.keys(value).length;
  const noun = Array.isArray(value) ? 'item' : 'field';
  return `(${formatCount(count)} ${noun}${count === 1 ? '' : 's'})`;
}

function wholeAttributeText(value: JsonValue | undefined): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value, null, 2);
}

/** Returns the attribute keys that occur, the most frequent first. Keys with objects, which make poor columns, are last. */
export function keysOf(users: Iterable<User>): string[] {
  const counts = new Map<string, number>();
  for (const { attributes = {} } of users) {
    for (const [key, value] of Object.entries(attributes)) {
      const weight = typeof value === 'object' ? 0.001 : 1;
      counts.set(key, (counts.get(key) ?? 0) + weight);
    }
  }
  return [...counts].sort(([a, many], [b, few]) => few - many || (a < b ? -1 : 1)).map(([key]) => key);
}

const selectPx = 20;
export const gapPx = 16;
/** The space at both ends of a row. The button for the columns is in the space at the end. */
const endsPx = 20 + 52;

const attributesMax = 8;

/** The columns that the page chooses if the person has chosen none: as many attributes as fit. */
export function defaultColumns(keys: readonly string[], widthPx: number): string[] {
  const fixed = ['name', 'email', 'create_time'];
  const columns = fixed.flatMap((id) => columnOf(id) ?? []);
  if (widthPx < minWidthOf(columns, { isTight: true })) return ['name', 'email'];
  const room = widthPx - minWidthOf(columns, {});
  const count = Math.max(0, Math.min(attributesMax, Math.floor(room / (valuePx + gapPx))));
  return ['name', 'email', ...keys.slice(0, count).map(attributePath), 'create_time'];
}

const cardTextsMax = 2;
/** Says most about a person without a title. */
const tellingKey = /^(?:job[ _-]?)?title$|^(?:department|team|role)$/i;

/** The columns of a card if the person has chosen none. Their attribute is a frequent one that is clear without a title. */
export function defaultCardColumns(users: readonly User[]): string[] {
  const counts = new Map<string, number>();
  for (const [key, value] of users.flatMap(({ attributes }) => Object.entries(attributes ?? {}))) {
    const isClear = typeof value === 'string' && /\p{L}{2}/u.test(value);
    if (isClear) counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const most = Math.max(0, ...counts.values());
  const frequent = keysOf(users).filter((key) => (counts.get(key) ?? 0) > most / 2);
  const key = frequent.find((each) => tellingKey.test(each)) ?? frequent[0];
  return ['name', 'email', ...(key === undefined ? [] : [attributePath(key)]), 'create_time'];
}

/** The chosen columns that fit on a card: the name, two others under it, and the first time. */
export function cardColumns(ids: readonly string[]): string[] {
  const isTime = (id: string) => columnOf(id)?.kind === 'time';
  const texts = ids.filter((id) => id !== 'name' && !isTime(id)).slice(0, cardTextsMax);
  return ['name', ...texts, ...ids.filter(isTime).slice(0, 1)];
}

/** In pixels, by the column's id. */
export type ColumnWidths = Readonly<Record<string, number>>;

export interface GridWidths {
  /** The widths that the person has chosen. */
  readonly chosen?: ColumnWidths;
  /** The widths that the texts of columns need. */
  readonly content?: ColumnWidths;
  /** Whether columns become narrower than is good before the grid scrolls sideways. */
  readonly isTight?: boolean;
}

export function minWidthOf(columns: readonly Column[], widths: GridWidths): number {
  const cells = columns.map((column) => gapPx + leastPx(column, widths));
  return cells.reduce((sum, px) => sum + px, endsPx + selectPx);
}

function leastPx({ id, minPx, goodPx }: Column, { chosen = {}, content = {}, isTight = false }: GridWidths): number {
  const px = isTight ? minPx : goodPx;
  return chosen[id] ?? Math.min(px, content[id] ?? px);
}

/**
 * The value of grid-template-columns. First each column gets what its texts need, and then its share of the width that
 * remains. The widths are in pixels, because browsers would otherwise divide them again for each row.
 */
export function templateOf(columns: readonly Column[], widths: GridWidths, widthPx: number): string {
  const { chosen = {}, content = {} } = widths;
  const free = Math.max(0, widthPx - minWidthOf(columns, widths));
  const parts = columns.map((column) => {
    const { id, share } = column;
    const least = leastPx(column, widths);
    if (chosen[id] !== undefined) return { least, wanted: 0, share: 0 };
    return { least, wanted: (content[id] ?? least) - least, share };
  });
  const wanted = parts.reduce((sum, part) => sum + part.wanted, 0);
  const shares = parts.reduce((sum, { share }) => sum + share, 0);
  const given = wanted === 0 ? 0 : Math.min(1, free / wanted);
  const perShare = shares === 0 ? 0 : Math.max(0, free - wanted) / shares;
  const tracks = parts.map((part) => `${Math.floor(part.least + part.wanted * given + part.share * perShare)}px`);
  return [`${selectPx}px`, ...tracks].join(' ');
}
