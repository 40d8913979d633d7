/** The second step of an import: the user checks the file's columns before the page sends anything. */
import { useId, useRef, useState } from 'preact/hooks';
import { attributeKeyOf, attributePath, textFields } from '../../src/fields.js';
import { delimiterNames } from '../../src/user-files/csv.js';
import { WrongEncoding } from '../../src/user-files/file-text.js';
import { fullNameColumn } from '../../src/user-files/full-name.js';
import type { Column } from '../../src/user-files/header.js';
import type { KnownAttributes } from '../attributes/use-attribute-types.js';
import { formatBytes, formatCount } from '../text/format.js';
import { similarKey } from '../users/attributes.js';
import { ColumnTypeSelect } from './column-type-select.js';
import { EncodingSelect } from './encoding-select.js';
import { cellNoteOf, withField } from './import-attributes.js';
import { type FilePreview, keyForColumn, withAttributes } from './import-file.js';
import type { OnTaken } from './import-messages.js';
import { shortened } from './import-report.js';
import { Sample } from './import-sample.js';

// More would be hard to find in the list, and all keys can be entered.
const offeredKeysMax = 50;
/** The value of the option that opens a field for the key. No field has this name. */
const otherKey = ' ';

const fieldTexts: readonly (readonly [string, string])[] = [
  ...textFields.map(({ path, label }) => [path, label] as const),
  [fullNameColumn, 'Full name'],
  ['attributes', 'Attributes, as JSON'],
];

export interface ImportPreviewProps {
  readonly preview: FilePreview;
  /** Why the file cannot be imported. */
  readonly problem: string | undefined;
  readonly onTaken: OnTaken;
  /** Whether the caller may let an import update users. */
  readonly mayUpdate: boolean;
  onOther(): void;
  onEncoding(encoding: string): void;
  onHeader(hasHeader: boolean): void;
  onColumns(columns: readonly Column[]): void;
  onTakenChange(onTaken: OnTaken): void;
}

export function ImportPreview(props: ImportPreviewProps) {
  const { preview, problem, onTaken, mayUpdate, onOther, onEncoding, onHeader, onColumns, onTakenChange } = props;
  const { file, delimiter, encoding, encodingFound, guessedText, hasHeader, hasEmailFirst, rows, fault } = preview;
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
      <p class="notice" role="status">
        {guessedText === undefined ? null : (
          <span>
            The file is not UTF-8. It is read as {encodingFound}, for example “<bdi>{shortened(guessedText)}</bdi>”.
            Choose another encoding if letters look wrong.
          </span>
        )}
      </p>
      <FirstLine preview={preview} onHeader={onHeader} />
      <p class="notice warning" role="status">
        {problem}
      </p>
      {fault === undefined || fault instanceof WrongEncoding ? null : (
        <p class="notice danger">{fault.message} Only the rows before that line can be imported.</p>
      )}
      {/* If the first line is a person, its cells do not name attributes. */}
      {hasHeader && hasEmailFirst ? null : <AddAttributes preview={preview} onColumns={onColumns} />}
      <ColumnTable preview={preview} onColumns={onColumns} />
      <p class="hint">
        Valid rows are written even if others are rejected. Users that were written stay, even if you stop the import.
        {onTaken === 'update' ? ' An update sets the fields that the row has. Empty cells change nothing.' : ''}
      </p>
    </>
  );
}

/** Without this, a file without a header would lose its first user. */
function FirstLine({ preview, onHeader }: Pick<ImportPreviewProps, 'preview' | 'onHeader'>) {
  const { hasHeader, hasEmailFirst } = preview;
  return (
    <div class={hasHeader ? 'notice warning first-line' : 'notice first-line'} role="status">
      {hasEmailFirst ? (
        <>
          <span class="grow">
            {hasHeader
              ? 'The first line contains an email address. It seems to be a person, and not the names of the columns.'
              : 'The first line is imported as a person. Choose a field for each column.'}
          </span>
          <button type="button" class="button small" onClick={() => onHeader(!hasHeader)}>
            {hasHeader ? 'The first line is a person' : 'The first line names the columns'}
          </button>
        </>
      ) : null}
    </div>
  );
}

type AddAttributesProps = Pick<ImportPreviewProps, 'preview' | 'onColumns'>;

/** The user can import all columns that match no field as attributes at once, or ignore them again. */
function AddAttributes({ preview: { columns, known, newKeys }, onColumns }: AddAttributesProps) {
  const next = withAttributes(columns, known, newKeys);
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

function ColumnTable({
  preview: { columns, samples, known, newKeys },
  onColumns,
}: Pick<ImportPreviewProps, 'preview' | 'onColumns'>) {
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
                  cells={samples.map((cells) => cells[index] ?? '')}
                  known={known}
                  newKeys={newKeys}
                  onColumn={(changed) => onColumns(columns.with(index, changed))}
                />
              )}
            </td>
            <td class="samples">
              {samples.map((cells, row) => (
                <Sample key={row} column={column} cell={cells[index] ?? ''} />
              ))}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface ColumnSelectProps {
  readonly column: Column;
  /** The first cells of the column. */
  readonly cells: readonly string[];
  readonly known: KnownAttributes;
  readonly newKeys: ReadonlySet<string>;
  onColumn(column: Column): void;
}

function ColumnSelect({ column, cells, known, newKeys, onColumn }: ColumnSelectProps) {
  const [isRenaming, setRenaming] = useState(false);
  const selectRef = useRef<HTMLSelectElement>(null);
  const noteId = useId();
  const key = keyForColumn(column);
  const chosenKey = attributeKeyOf(column.field);
  const isFullName = column.field === fullNameColumn;
  const onChange = (field: string) => onColumn(withField(column, field, known, newKeys));
  if (isRenaming) {
    const onDone = (isByKey: boolean) => {
      setRenaming(false);
      // The focused field was removed.
      if (isByKey) requestAnimationFrame(() => selectRef.current?.focus());
    };
    return <KeyField column={column} value={chosenKey ?? key} known={known} onChange={onChange} onDone={onDone} />;
  }
  const offered = [...known.keys()].filter((each) => each !== '').slice(0, offeredKeysMax);
  const others = [...new Set([key, chosenKey ?? ''])].filter((each) => each !== '' && !offered.includes(each));
  return (
    <>
      <select
        ref={selectRef}
        class="input"
        aria-label={`Field of ${column.name}`}
        aria-describedby={chosenKey === undefined && !isFullName ? undefined : noteId}
        value={column.field}
        onChange={(event) => {
          const { value } = event.currentTarget;
          if (value === otherKey) setRenaming(true);
          else onChange(value);
        }}
      >
        <option value="">Ignore</option>
        {fieldTexts.map(([field, text]) => (
          <option key={field} value={field}>
            {text}
          </option>
        ))}
        {others.map((each) => (
          <option key={each} value={attributePath(each)}>
            Attribute “{each}”
          </option>
        ))}
        {offered.length === 0 ? null : (
          <optgroup label="Attributes">
            {offered.map((each) => (
              <option key={each} value={attributePath(each)}>
                {each}
              </option>
            ))}
          </optgroup>
        )}
        <option value={otherKey}>Attribute with another name…</option>
      </select>
      {isFullName ? (
        <p id={noteId} class="hint column-note">
          Split at the last space, or at the comma in “Lovelace, Ada”.
        </p>
      ) : null}
      {chosenKey === undefined ? null : (
        <>
          <ColumnTypeSelect column={column} noteId={noteId} onColumn={onColumn} />
          <AttributeNote id={noteId} attribute={chosenKey} column={column} cells={cells} known={known} />
        </>
      )}
    </>
  );
}

interface AttributeNoteProps extends Pick<ColumnSelectProps, 'cells' | 'known'> {
  readonly id: string;
  readonly attribute: string;
  readonly column: Column;
}

/** Says what the cells become, and whether the attribute may be a second spelling of another one. */
function AttributeNote({ id, attribute, column, cells, known }: AttributeNoteProps) {
  const note = cellNoteOf(attribute, column, cells, known);
  return (
    <div id={id} class="column-note">
      <SimilarKey value={attribute} known={known} />
      {note === undefined ? null : <p class={note.isStray ? 'hint stray' : 'hint'}>{note.text}</p>}
    </div>
  );
}

function SimilarKey({ value, known }: { value: string; known: KnownAttributes }) {
  const similar = similarKey(value, [...known.keys()]);
  if (similar === undefined) return null;
  return (
    <p class="hint">
      There is also “<bdi>{similar}</bdi>”.
    </p>
  );
}

interface KeyFieldProps {
  readonly column: Column;
  readonly value: string;
  readonly known: KnownAttributes;
  onChange(field: string): void;
  /** `isByKey` is true if the focus was still in the field. */
  onDone(isByKey: boolean): void;
}

/** The user enters the key of the attribute. */
function KeyField({ column, value, known, onChange, onDone }: KeyFieldProps) {
  const [text, setText] = useState(value);
  const isDoneRef = useRef(false);
  const noteId = useId();
  const finish = (isKept: boolean, isByKey: boolean) => {
    // The removal of a focused field is a blur in some browsers.
    if (isDoneRef.current) return;
    isDoneRef.current = true;
    const key = text.trim();
    if (isKept && key !== '') onChange(attributePath(key));
    onDone(isByKey);
  };
  return (
    <>
      <input
        class="input"
        aria-label={`Attribute for ${column.name}`}
        aria-describedby={noteId}
        placeholder="Name of the attribute"
        dir="auto"
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
        value={text}
        ref={(input) => {
          if (document.activeElement !== input) input?.focus();
        }}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.isComposing || (event.key !== 'Enter' && event.key !== 'Escape')) return;
          // Otherwise the keys would submit or close the dialog.
          event.preventDefault();
          event.stopPropagation();
          finish(event.key === 'Enter', true);
        }}
        onBlur={() => finish(true, false)}
      />
      <div id={noteId} class="column-note" role="status">
        <SimilarKey value={text.trim()} known={known} />
      </div>
    </>
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
