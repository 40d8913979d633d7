/** The rejected rows of an import in a table, in which the user corrects them. */
import type { TargetedEvent } from 'preact';
import { useId } from 'preact/hooks';
import type { RowProblem } from '../../src/user-files/columns.js';
import { isColumnOf } from '../../src/user-files/header.js';
import { formatCount } from '../text/format.js';
import { ScrollRegion } from '../ui/scroll-region.js';
import { fieldText } from './csv.js';
import { type ImportReport, lacksFirstName, type RejectedRow } from './import-users.js';

type Correction = Pick<RejectedRow, 'cells' | 'firstName'>;

/** By the number of the row. */
export type Corrections = Map<number, Correction>;

// A row with more cells, perhaps of another file, is corrected in the downloaded file.
const extraCellsMax = 20;

export interface RejectedRowsProps {
  readonly report: ImportReport;
  /** The table writes into it. */
  readonly corrections: Corrections;
  /** Called after each change of a cell. */
  onCorrected(): void;
}

export function RejectedRows({ report, corrections, onCorrected }: RejectedRowsProps) {
  const { source, rejected, rejectedRows, texts } = report;
  const { columns } = source;
  const extraCells = Math.min(
    extraCellsMax,
    Math.max(0, ...rejectedRows.map((row) => extraCellsOf(row, columns.length))),
  );
  const shown = [
    ...[...columns.entries()]
      .map(([index, { name, field }]) => ({ index, name, field }))
      .filter(({ field }) => field !== ''),
    ...Array.from({ length: extraCells }, (_, at) => columns.length + at).map((index) => ({
      index,
      name: `Cell ${index + 1}`,
    })),
  ];
  const needsFirstName = ({ problem, firstName }: RejectedRow) =>
    lacksFirstName(columns) && (problem.field === 'first_name' || firstName !== undefined);
  const hasFirstNames = rejectedRows.some(needsFirstName);
  const onEdit = ({ row, cells }: RejectedRow, edit: (before: Correction) => Correction) => {
    const length = Math.max(columns.length, cells.length);
    const before = corrections.get(row) ?? { cells: Array.from({ length }, (_, at) => cells[at] ?? '') };
    corrections.set(row, edit(before));
    onCorrected();
  };
  return (
    <>
      <ScrollRegion class="rejected" label="Rejected rows">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Row</th>
              <th scope="col">Problem</th>
              {hasFirstNames ? <th scope="col">First name</th> : null}
              {shown.map(({ index, name }) => (
                <th key={index} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rejectedRows.map((rejectedRow) => (
              <Row
                key={`${rejectedRow.row} ${rejectedRow.problem.message}`}
                rejectedRow={rejectedRow}
                text={texts.get(rejectedRow.row) ?? rejectedRow.problem.message}
                columns={shown}
                firstNameCell={!hasFirstNames ? 'none' : needsFirstName(rejectedRow) ? 'input' : 'empty'}
                onEdit={(index, text) =>
                  onEdit(rejectedRow, ({ cells, ...rest }) => ({ ...rest, cells: cells.with(index, text) }))
                }
                onFirstName={(firstName) => onEdit(rejectedRow, (before) => ({ ...before, firstName }))}
              />
            ))}
          </tbody>
        </table>
      </ScrollRegion>
      <p class="hint">
        {rejected > rejectedRows.length
          ? `These are the first ${rejectedRows.length}. The file of rejected rows has all ${formatCount(rejected)}. `
          : ''}
        Correct the rows here and send them again, or download them with their problems and import the file later.
        {extraCells > 0
          ? ' Cells after the last column must be empty: move their text to another cell, or delete it.'
          : ''}
      </p>
    </>
  );
}

/** The number of cells after the last column, without empty ones at the end. Negative if the row is shorter. */
function extraCellsOf({ cells }: RejectedRow, columns: number): number {
  return cells.findLastIndex((cell) => cell.trim() !== '') + 1 - columns;
}

interface RowProps {
  readonly rejectedRow: RejectedRow;
  readonly text: string;
  /** A column of cells after the last column of the file has no field. */
  readonly columns: readonly { readonly index: number; readonly name: string; readonly field?: string }[];
  readonly firstNameCell: 'none' | 'empty' | 'input';
  onEdit(index: number, text: string): void;
  onFirstName(text: string): void;
}

function Row({ rejectedRow, text, columns, firstNameCell, onEdit, onFirstName }: RowProps) {
  const { row, line, cells, firstName = '', problem } = rejectedRow;
  const id = useId();
  const inputCell = (
    key: number | string,
    name: string,
    cell: string,
    isInvalid: boolean,
    onText: (text: string) => void,
  ) => {
    // An input of one line would lose the line breaks.
    const Input = /[\r\n]/.test(cell) ? 'textarea' : 'input';
    return (
      <td key={key} data-label={name}>
        <Input
          class="input"
          aria-label={`${name} in row ${row}`}
          aria-invalid={isInvalid}
          {...(isInvalid && { 'aria-describedby': id })}
          dir="auto"
          defaultValue={cell}
          // The browser offers values of other rows.
          autocomplete="off"
          onInput={(event: TargetedEvent<HTMLInputElement | HTMLTextAreaElement>) => onText(event.currentTarget.value)}
        />
      </td>
    );
  };
  return (
    <tr>
      <th scope="row" class="numeric">
        <RowNumber row={row} line={line} />
      </th>
      <td id={id} class="why">
        <ProblemText problem={{ field: problem.field, message: text }} />
      </td>
      {firstNameCell === 'empty' ? <td /> : null}
      {firstNameCell === 'input'
        ? inputCell('firstName', 'First name', firstName, problem.field === 'first_name', onFirstName)
        : null}
      {columns.map(({ index, name, field }) => {
        const cell = cells[index] ?? '';
        // Most rows do not have such cells.
        if (field === undefined && index >= cells.length) return <td key={index} />;
        const isInvalid =
          field === undefined ? cell.trim() !== '' : isAt(problem.field, field) || isColumnOf({ field }, problem.field);
        return inputCell(index, name, cell, isInvalid, (text) => onEdit(index, text));
      })}
    </tr>
  );
}

/** A row of the file, as all steps of an import name it. */
export function RowNumber({ row, line }: { row: number; line: number }) {
  return (
    <>
      {formatCount(row)} <span class="faint">(line {formatCount(line)})</span>
    </>
  );
}

export function ProblemText({ problem: { field, message } }: { problem: Pick<RowProblem, 'field' | 'message'> }) {
  if (field === '') return <>{message}</>;
  return (
    <>
      <strong>{fieldText(field)}</strong>: {message}
    </>
  );
}

/** Whether a column for `field` has the invalid value. A path such as attributes.tags.0 is in a value. */
function isAt(problemField: string, field: string): boolean {
  return problemField === field || problemField.startsWith(`${field}.`);
}
