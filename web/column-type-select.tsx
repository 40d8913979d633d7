/** Chooses the type of the values that the cells of an import's column for one attribute become. */
import type { CellType } from '../src/user-files/cell-types.js';
import type { Column } from '../src/user-files/header.js';
import { withType } from './import-attributes.js';

const typeTexts: readonly (readonly [CellType | undefined, string])[] = [
  [undefined, 'as text'],
  ['number', 'as number'],
  ['boolean', 'as yes or no'],
  ['list', 'as list'],
  ['json', 'as JSON'],
];

export interface ColumnTypeSelectProps {
  readonly column: Column;
  /** The element that describes what the cells become. */
  readonly noteId: string;
  onColumn(column: Column): void;
}

export function ColumnTypeSelect({ column, noteId, onColumn }: ColumnTypeSelectProps) {
  return (
    <select
      class="input column-type"
      aria-label={`Type of ${column.name}`}
      aria-describedby={noteId}
      value={column.type ?? ''}
      onChange={({ currentTarget }) => onColumn(withType(column, typeTexts[currentTarget.selectedIndex]?.[0]))}
    >
      {typeTexts.map(([type = '', text]) => (
        <option key={type} value={type}>
          {text}
        </option>
      ))}
    </select>
  );
}
