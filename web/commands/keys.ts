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

export type Place = 'Anywhere' | 'List' | 'Column titles' | 'Search' | 'Filter' | 'User' | 'Form';

export const keys: readonly Key[] = [
  { place: 'Anywhere', keys: ['Mod+K'], effect: 'Open the commands, which also find users' },
  { place: 'Anywhere', keys: ['n'], effect: 'Create a user' },
  { place: 'Anywhere', keys: ['?'], effect: 'Show this list of keys' },
  { place: 'Anywhere', keys: ['Mod+Z'], effect: 'Undo the last change, while its notification is shown' },
  { place: 'List', keys: ['/'], effect: 'Go to the search' },
  { place: 'List', keys: ['f'], effect: 'Add a filter' },
  { place: 'List', keys: ['↑', '↓', 'PageUp', 'PageDown', 'Home', 'End'], effect: 'Move through the rows' },
  { place: 'List', keys: ['Enter', 'Space'], effect: 'Open the user of the row' },
  { place: 'List', keys: ['x'], effect: 'Select the row' },
  { place: 'List', keys: ['Shift+↑', 'Shift+↓', 'Shift+x'], effect: 'Select the rows up to the new row' },
  { place: 'List', keys: ['Mod+A'], effect: 'Select all users that match' },
  { place: 'List', keys: ['Escape'], effect: 'Clear the selection' },
  { place: 'Column titles', keys: ['←', '→'], effect: 'Move between the columns and their menus' },
  { place: 'Column titles', keys: ['Shift+←', 'Shift+→'], effect: 'Make the column narrower or wider' },
  { place: 'Column titles', keys: ['Ctrl+Shift+←', 'Ctrl+Shift+→'], effect: 'Move the column' },
  { place: 'Search', keys: ['Enter'], effect: 'Open the match, if there is only one' },
  { place: 'Search', keys: ['↓'], effect: 'Go to the first match; with Enter after it, open it' },
  { place: 'Filter', keys: ['Enter'], effect: 'Choose a value and apply the filter' },
  { place: 'Filter', keys: ['Space'], effect: 'Select several values, after ↓ has chosen one' },
  { place: 'User', keys: ['e'], effect: 'Edit the user in the panel' },
  { place: 'User', keys: ['j', 'k'], effect: 'Go to the next or previous user of the list' },
  { place: 'User', keys: ['Escape'], effect: 'Close the panel' },
  { place: 'Form', keys: ['Enter'], effect: 'Save, from a field or an attribute of one line' },
  {
    place: 'Form',
    keys: ['Shift+Enter'],
    effect: 'Break the line in an attribute; Enter does so after the first line',
  },
  { place: 'Form', keys: ['Mod+Enter'], effect: 'Save, from every field' },
  { place: 'Form', keys: ['Escape'], effect: 'Stop editing, after a question if you typed something' },
];
