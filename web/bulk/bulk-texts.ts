/** Says what a change of an attribute does, with the start of its value. */
import { usersText } from '../calls/bulk-target.js';
import { formatCount } from '../text/format.js';
import type { JsonValue } from '../users/user-fields.js';
import type { AttributeChange } from './bulk-writes.js';

// A button with two such texts fits into one line of the dialog.
const shownMax = 24;

/** Such as “Set department to Finance for 30 users”. */
export function changeText({ key, value }: AttributeChange, users: string): string {
  return value === undefined
    ? `Remove ${shortened(key)} from ${users}`
    : `Set ${shortened(key)} to ${shortened(valueText(value))} for ${users}`;
}

/** The same after it is done. `unchanged` users did not need the change. */
export function changedText(change: AttributeChange, users: string, unchanged: number): string {
  const changed = `${changeText(change, users).replace(/^Remove /, 'Removed ')}.`;
  if (unchanged === 0) return changed;
  return `${changed} ${countText(unchanged)} ${change.value === undefined ? 'did not have' : 'already had'} it.`;
}

/** `gone` users were deleted by somebody else. */
export function deletedText(deleted: number, gone: number): string {
  if (deleted === 0) return `${usersText(gone)} ${gone === 1 ? 'was' : 'were'} already deleted.`;
  return `${usersText(deleted)} deleted${goneText(gone)}.`;
}

/** Such as “, one was already deleted”. */
export function goneText(gone: number): string {
  return gone === 0 ? '' : `, ${countText(gone).toLowerCase()} ${gone === 1 ? 'was' : 'were'} already deleted`;
}

function countText(count: number): string {
  return count === 1 ? 'One' : formatCount(count);
}

function valueText(value: JsonValue): string {
  if (value === null) return 'no value';
  if (typeof value === 'boolean') return value ? 'Yes' : 'No';
  if (typeof value === 'string') return value.trim() === '' ? 'an empty text' : value;
  const isList = Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string');
  return isList ? value.join(', ') : JSON.stringify(value);
}

function shortened(text: string): string {
  const letters = [...text.replaceAll(/\s+/g, ' ').trim()];
  return letters.length <= shownMax ? letters.join('') : `${letters.slice(0, shownMax).join('').trimEnd()}…`;
}
