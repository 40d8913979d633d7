/**
 * Reads CSV files of users and writes their rejected rows, in the same format as the command line. The server validates
 * the fields.
 */
import { draftOf, errorColumns, type Row, type RowProblem } from '../../src/user-files/columns.js';
import { separatorLine } from '../../src/user-files/csv.js';
import { type DecodedText, decodeText } from '../../src/user-files/file-text.js';
import { fullNameColumn } from '../../src/user-files/full-name.js';
import { type Column, fieldNamed, findDuplicate, missingFields, targetsOf } from '../../src/user-files/header.js';
import { formatLine } from '../text/csv-line.js';
import { labelOf } from '../users/user-fields.js';
import type { OnTaken } from './import-messages.js';

/** Reads a file as text and reports the progress to `onBytes`. `encoding` is for a file without a byte order mark. */
export function readText(
  file: Blob,
  { encoding, onBytes = () => {} }: { encoding?: string | undefined; onBytes?(bytes: number): void } = {},
): DecodedText {
  async function* read(): AsyncGenerator<Uint8Array> {
    const reader = file.stream().getReader();
    let bytes = 0;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        yield value;
        bytes += value.length;
        onBytes(bytes);
      }
    } finally {
      // The consumer may stop before the end of the file.
      reader.cancel().catch(() => {});
    }
  }
  return decodeText(read(), encoding);
}

/** Returns the text of a field for the user, also of one in the path of a problem. */
export function fieldText(field: string): string {
  if (field === fullNameColumn) return 'Full name';
  return fieldNamed(field) === 'attributes' ? 'Attributes' : labelOf(field) || field;
}

/** Says why a file with these columns cannot be imported. Returns undefined if it can. An update keeps the first names. */
export function refuseColumns(columns: readonly Column[], onTaken: OnTaken, mayUpdate: boolean): string | undefined {
  const duplicate = findDuplicate(columns);
  if (duplicate !== undefined) {
    const names = duplicate.indexes.map((index) => `“${columns[index]?.name}” (column ${index + 1})`);
    return `${names.length === 2 ? 'Two' : names.length} columns are ${fieldText(duplicate.field)}: ${names.join(' and ')}. Ignore all but one of them.`;
  }
  const whole = columns.find(({ field }) => field === fullNameColumn);
  const part = columns.find(({ field }) => field === 'first_name' || field === 'last_name');
  if (whole !== undefined && part !== undefined) {
    return `“${whole.name}” is both names, and “${part.name}” is the ${fieldText(part.field).toLowerCase()}. Ignore one of them.`;
  }
  const missing = missingFields(columns).filter((field) => field === 'email' || onTaken !== 'update');
  if (missing.length === 0) return undefined;
  const choose = `Choose a column for ${missing.map(fieldText).join(' and for ')}.`;
  if (!missing.includes('first_name')) return choose;
  const advice = [choose, 'If one column has whole names, choose Full name for it.'];
  if (mayUpdate) advice.push('If the file only updates users, choose to update the user who has the email.');
  return advice.join(' ');
}

/** Converts each record to a user. */
export function fileRowsOf(
  records: readonly { readonly cells: readonly string[]; readonly line: number }[],
  columns: readonly Column[],
): Row[] {
  const targets = targetsOf(columns);
  return records.map(({ cells, line }) => ({ line, original: cells, ...draftOf(cells, targets) }));
}

/**
 * Formats rejected rows, with the problem in the first columns, so that a user can correct and import them. A column for the
 * first name is added before those of the file, because a row may have cells after them.
 */
export function createRejectedCsv(header: readonly string[], delimiter: string, addsFirstName = false) {
  const isOriginal = (_: string, index: number) => !errorColumns.includes(header[index] ?? '');
  const line = (start: readonly string[], firstName: string, cells: readonly string[]) =>
    formatLine([...start, ...(addsFirstName ? [firstName] : []), ...cells.filter(isOriginal)], delimiter);
  return {
    header: separatorLine(delimiter) + line(errorColumns, 'first_name', header),
    format: (cells: readonly string[], { field, reason, message }: RowProblem, firstName = '') =>
      line([field, reason, message], firstName, cells),
  };
}
