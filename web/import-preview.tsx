/** The second step of an import: the user checks the file's columns before the page sends anything. */
import { useId } from 'preact/hooks';
import { writablePaths } from '../src/fields.js';
import { delimiterNames } from '../src/user-files/csv.js';
import { WrongEncoding } from '../src/user-files/file-text.js';
import type { Column } from '../src/user-files/header.js';
import { EncodingSelect } from './encoding-select.js';
import { formatBytes, formatCount } from './format.js';
import type { OnTaken } from './import-batch.js';
import type { FilePreview } from './import-file.js';
import { labelOf } from './user-fields.js';

export interface ImportPreviewProps {
  readonly preview: FilePreview;
  /** Why the file cannot be imported. */
  readonly problem: string | undefined;
  readonly onTaken: OnTaken;
  onOther(): void;
  onEncoding(encoding: string): void;
  onColumns(columns: readonly Column[]): void;
  onTakenChange(onTaken: OnTaken): void;
}

export function ImportPreview(props: ImportPreviewProps) {
  const { preview, problem, onTaken, onOther, onEncoding, onColumns, onTakenChange } = props;
  const { file, delimiter, encoding, encodingFound, rows, fault } = preview;
  return (
    <>
      <p class="line wrap">
        <span class="grow">
          <strong>{file.name}</strong>{' '}
          <span class="soft">
            {formatBytes(file.size)}
            {fault === undefined ? `, ${rows === 1 ? 'one row' : `${formatCount(rows)} rows`}` : ''}, cells separated by{' '}
            {delimiterNames[delimiter] ?? `“${delimiter}”`}
          </span>
        </span>
        <button type="button" class="button small" data-first onClick={onOther}>
          Another file
        </button>
      </p>
      <EncodingSelect encoding={encoding} found={encodingFound} onChange={onEncoding} />
      <p class="notice warning" role="status">
        {problem}
      </p>
      {fault === undefined || fault instanceof WrongEncoding ? null : (
        <p class="notice danger">{fault.message} Only the rows before that line can be imported.</p>
      )}
      <ColumnTable preview={preview} onColumns={onColumns} />
      <TakenChoice onTaken={onTaken} onChange={onTakenChange} />
      <p class="hint">
        Valid rows are created even if others are rejected. Created users stay, even if you stop the import.
      </p>
    </>
  );
}

function ColumnTable({ preview: { columns, samples }, onColumns }: Pick<ImportPreviewProps, 'preview' | 'onColumns'>) {
  return (
    <table class="table columns">
      <caption class="visually-hidden">Columns of the file and their fields</caption>
      <thead>
        <tr>
          <th scope="col">Column</th>
          <th scope="col">Field</th>
          <th scope="col">First rows</th>
        </tr>
      </thead>
      <tbody>
        {columns.map((column, index) => (
          // Two columns may have the same name.
          <tr key={index}>
            <th scope="row">{column.name}</th>
            <td>
              {column.isIgnored ? (
                <span class="soft">ignored: only the server sets it</span>
              ) : (
                <ColumnSelect
                  column={column}
                  onChange={(field) => onColumns(columns.with(index, { ...column, field }))}
                />
              )}
            </td>
            <td class="samples">
              {samples.map((cells, row) => (
                <span key={row} class="truncate" dir="auto">
                  {cells[index] === '' || cells[index] === undefined ? <i>empty</i> : cells[index]}
                </span>
              ))}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function ColumnSelect({ column, onChange }: { column: Column; onChange(field: string): void }) {
  const key = column.name.replace(/^attributes\./, '');
  return (
    <select
      class="input"
      aria-label={`Field of ${column.name}`}
      value={column.field}
      onChange={(event) => onChange(event.currentTarget.value)}
    >
      <option value="">Ignore</option>
      {writablePaths.map((field) => (
        <option key={field} value={field}>
          {field === 'attributes' ? 'Attributes, as JSON' : labelOf(field)}
        </option>
      ))}
      {key === '' ? null : <option value={`attributes.${key}`}>Attribute “{key}”</option>}
    </select>
  );
}

function TakenChoice({ onTaken, onChange }: { onTaken: OnTaken; onChange(onTaken: OnTaken): void }) {
  const name = useId();
  return (
    <fieldset class="choices">
      <legend>Rows whose email is taken</legend>
      <label>
        <input type="radio" name={name} checked={onTaken === 'reject'} onChange={() => onChange('reject')} />
        Report as rejected
      </label>
      <label>
        <input type="radio" name={name} checked={onTaken === 'skip'} onChange={() => onChange('skip')} />
        Skip silently
      </label>
    </fieldset>
  );
}
