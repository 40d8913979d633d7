/** The second step of an import: the user checks the file's columns before the page sends anything. */
import { useState } from 'preact/hooks';
import { writablePaths } from '../src/fields.js';
import { delimiterNames } from '../src/user-files/csv.js';
import { WrongEncoding } from '../src/user-files/file-text.js';
import type { Column } from '../src/user-files/header.js';
import { EncodingSelect } from './encoding-select.js';
import { formatBytes, formatCount } from './format.js';
import { attributeKeyOf, type FilePreview, withAttributes } from './import-file.js';
import type { OnTaken } from './import-messages.js';
import { labelOf } from './user-fields.js';

const attributePrefix = 'attributes.';
/** The value of the option that opens a field for the key. No field has this name. */
const otherKey = ' ';

export interface ImportPreviewProps {
  readonly preview: FilePreview;
  /** Why the file cannot be imported. */
  readonly problem: string | undefined;
  readonly onTaken: OnTaken;
  /** Whether the caller may let an import update users. */
  readonly mayUpdate: boolean;
  onOther(): void;
  onEncoding(encoding: string): void;
  onColumns(columns: readonly Column[]): void;
  onTakenChange(onTaken: OnTaken): void;
}

export function ImportPreview(props: ImportPreviewProps) {
  const { preview, problem, onTaken, mayUpdate, onOther, onEncoding, onColumns, onTakenChange } = props;
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
      <div class="choices">
        <EncodingSelect encoding={encoding} found={encodingFound} onChange={onEncoding} />
        <TakenChoice onTaken={onTaken} mayUpdate={mayUpdate} onChange={onTakenChange} />
      </div>
      <p class="notice warning" role="status">
        {problem}
      </p>
      {fault === undefined || fault instanceof WrongEncoding ? null : (
        <p class="notice danger">{fault.message} Only the rows before that line can be imported.</p>
      )}
      <AddAttributes columns={preview.columns} onColumns={onColumns} />
      <ColumnTable preview={preview} onColumns={onColumns} />
      <p class="hint">
        Valid rows are written even if others are rejected. Users that were written stay, even if you stop the import.
        {onTaken === 'update' ? ' An update sets the fields that the row has. Empty cells change nothing.' : ''}
      </p>
    </>
  );
}

/** The user can import all columns that match no field as attributes at once, or ignore them again. */
function AddAttributes({ columns, onColumns }: Pick<FilePreview, 'columns'> & Pick<ImportPreviewProps, 'onColumns'>) {
  const next = withAttributes(columns);
  const added = columns.filter((column, index) => column !== next[index]);
  if (added.length === 0) return null;
  const text = added.length === 1 ? '1 column matches no field' : `${added.length} columns match no field`;
  return (
    <p class="line wrap">
      <span class="grow soft">{text} and will be ignored.</span>
      <button type="button" class="button small" onClick={() => onColumns(next)}>
        {added.length === 1 ? 'Add it as an attribute' : 'Add them as attributes'}
      </button>
    </p>
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
  const [isRenaming, setRenaming] = useState(false);
  const key = attributeKeyOf(column);
  const chosenKey = column.field.startsWith(attributePrefix) ? column.field.slice(attributePrefix.length) : undefined;
  if (isRenaming) {
    return <KeyField column={column} value={chosenKey ?? key} onChange={onChange} onDone={() => setRenaming(false)} />;
  }
  return (
    <select
      class="input"
      aria-label={`Field of ${column.name}`}
      value={column.field}
      onChange={(event) => {
        const { value } = event.currentTarget;
        if (value === otherKey) setRenaming(true);
        else onChange(value);
      }}
    >
      <option value="">Ignore</option>
      {writablePaths.map((field) => (
        <option key={field} value={field}>
          {field === 'attributes' ? 'Attributes, as JSON' : labelOf(field)}
        </option>
      ))}
      {key === '' ? null : <option value={attributePrefix + key}>Attribute “{key}”</option>}
      {chosenKey === undefined || chosenKey === key ? null : (
        <option value={column.field}>Attribute “{chosenKey}”</option>
      )}
      <option value={otherKey}>Attribute with another name…</option>
    </select>
  );
}

interface KeyFieldProps {
  readonly column: Column;
  readonly value: string;
  onChange(field: string): void;
  onDone(): void;
}

/** The user enters the key of the attribute. */
function KeyField({ column, value, onChange, onDone }: KeyFieldProps) {
  return (
    <input
      class="input"
      aria-label={`Attribute for ${column.name}`}
      placeholder="Name of the attribute"
      value={value}
      ref={(input) => {
        if (document.activeElement !== input) input?.focus();
      }}
      onKeyDown={(event) => {
        if (event.isComposing || (event.key !== 'Enter' && event.key !== 'Escape')) return;
        // Otherwise the keys would submit or close the dialog.
        event.preventDefault();
        event.stopPropagation();
        if (event.key === 'Enter') event.currentTarget.blur();
        else onDone();
      }}
      onBlur={(event) => {
        const key = event.currentTarget.value.trim();
        if (key !== '') onChange(attributePrefix + key);
        onDone();
      }}
    />
  );
}

const takenTexts: readonly (readonly [OnTaken, string])[] = [
  ['reject', 'Reject the row'],
  ['skip', 'Skip the row'],
  ['update', 'Update the user who has the email'],
];

interface TakenChoiceProps {
  readonly onTaken: OnTaken;
  readonly mayUpdate: boolean;
  onChange(onTaken: OnTaken): void;
}

function TakenChoice({ onTaken, mayUpdate, onChange }: TakenChoiceProps) {
  const choose = (text: string) => {
    const [value = onTaken] = takenTexts.find(([each]) => each === text) ?? [];
    onChange(value);
  };
  return (
    <label class="encoding">
      If an email is taken
      <select class="input" value={onTaken} onChange={(event) => choose(event.currentTarget.value)}>
        {takenTexts.map(([value, text]) =>
          value === 'update' && !mayUpdate ? null : (
            <option key={value} value={value}>
              {text}
            </option>
          ),
        )}
      </select>
    </label>
  );
}
