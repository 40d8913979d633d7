/** Chooses the type of the values that the cells of an import's column for one attribute become. */
import { unknownStyle } from '../../src/user-files/cell-style.js';
import { type CellType, readNumber } from '../../src/user-files/cell-types.js';
import type { Column } from '../../src/user-files/header.js';
import { withType } from './import-attributes.js';

type Choice = readonly [CellType | undefined, string];

/** The user chooses what a comma means, or the order of dates, only if the cells do not show it. */
function choicesOf({ style: { numbers, unclearNumber, dates } = unknownStyle }: Column): readonly Choice[] {
  const orderOf = (type: CellType) => (type === 'dayFirstDate' ? ' (day first)' : ' (month first)');
  return [
    [undefined, 'as text'],
    ...numbers.map((type): Choice => {
      const meaning = ` (${unclearNumber} = ${readNumber(unclearNumber, type)})`;
      return [type, `as number${numbers.length > 1 ? meaning : ''}`];
    }),
    ...dates.map((type): Choice => [type, `as date${dates.length > 1 ? orderOf(type) : ''}`]),
    ['boolean', 'as yes or no'],
    ['list', 'as list'],
    ['json', 'as JSON'],
  ];
}

export interface ColumnTypeSelectProps {
  readonly column: Column;
  /** The element that describes what the cells become. */
  readonly noteId: string;
  onColumn(column: Column): void;
}

export function ColumnTypeSelect({ column, noteId, onColumn }: ColumnTypeSelectProps) {
  const choices = choicesOf(column);
  return (
    <select
      class="input column-type"
      aria-label={`Type of ${column.name}`}
      aria-describedby={noteId}
      value={column.type ?? ''}
      onChange={({ currentTarget }) => onColumn(withType(column, choices[currentTarget.selectedIndex]?.[0]))}
    >
      {choices.map(([type = '', text]) => (
        <option key={type} value={type}>
          {text}
        </option>
      ))}
    </select>
  );
}
