/**
 * The keys of the page, for the keyboard help and for the table in docs/web.md, which a test compares with this one.
 *
 * A part of the page that handles keys adds them here.
 */

export interface Key {
  readonly place: Place;
  /** Alternatives. `Mod` is Ctrl, or ⌘ on a Mac. */
  readonly keys: readonly string[];
  readonly effect: string;
}

export type Place = 'Anywhere' | 'List' | 'Search' | 'Form';

export const keys: readonly Key[] = [
  { place: 'Anywhere', keys: ['Mod+K'], effect: 'Opens the commands, which also find people' },
  { place: 'Anywhere', keys: ['?'], effect: 'Shows this list of keys' },
  { place: 'Anywhere', keys: ['/'], effect: 'Goes to the search' },
  { place: 'Anywhere', keys: ['n'], effect: 'Creates a new user' },
  { place: 'Search', keys: ['Enter'], effect: 'Opens the match, if there is only one' },
  { place: 'Search', keys: ['↓'], effect: 'Goes to the first match; with Enter after it, opens that match' },
  { place: 'List', keys: ['↑', '↓', 'PageUp', 'PageDown', 'Home', 'End'], effect: 'Moves through the rows' },
  { place: 'List', keys: ['Enter', 'Space'], effect: 'Opens the user of the row' },
  { place: 'Form', keys: ['Enter'], effect: 'Saves, from a field or an attribute of one line' },
  {
    place: 'Form',
    keys: ['Shift+Enter'],
    effect: 'Breaks the line in an attribute; Enter also does so if the attribute has several lines',
  },
  { place: 'Form', keys: ['Mod+Enter'], effect: 'Saves, from every field' },
  { place: 'Form', keys: ['Escape'], effect: 'Closes, but asks first if you typed something' },
];
