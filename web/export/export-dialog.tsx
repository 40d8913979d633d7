/** Exports users to a file whose format and columns the user chooses, and shows the progress. */
import { Fragment } from 'preact';
import { useEffect, useId, useState } from 'preact/hooks';
import { attributeKeyOf, attributePath } from '../../src/fields.js';
import { selectsAll } from '../address/list-query.js';
import { useAttributeTypes } from '../attributes/use-attribute-types.js';
import { type BulkTarget, describeTarget } from '../calls/bulk-target.js';
import { isAborted } from '../calls/call-error.js';
import type { Directory } from '../calls/directory.js';
import { describeFailure } from '../calls/save-user.js';
import { chipText } from '../filter/filter-fields.js';
import { readChips } from '../filter/read-chips.js';
import { excelDelimiter } from '../text/csv-line.js';
import { formatCount } from '../text/format.js';
import { Dialog } from '../ui/dialog.js';
import { download } from '../ui/download.js';
import { createExportFile, type ExportFormat, exportColumnsOf, exportFields, exportFormats } from './export-format.js';
import { openSink, readUsers, watchAttributes, writeUsers } from './export-users.js';

export interface ExportDialogProps {
  readonly directory: Directory;
  readonly target: BulkTarget;
  /** The ids of the list's columns, which are the first choice; empty if there is no list yet. */
  readonly shownColumns: { readonly current: readonly string[] };
  onClose(): void;
}

type Step =
  | { readonly kind: 'ready' }
  | { readonly kind: 'running'; readonly rows: number }
  | {
      readonly kind: 'done';
      readonly rows: number;
      readonly columns: readonly string[];
      /** Attributes that were not offered, although all that were are in the file. */
      readonly missing: readonly string[];
    }
  | { readonly kind: 'failed'; readonly rows: number; readonly problem: string };

export function ExportDialog({ directory, target, shownColumns, onClose }: ExportDialogProps) {
  const { step, run, stop } = useExport(directory, target);
  const [format, setFormat] = useState<ExportFormat>('csv');
  const keys = [...(useAttributeTypes(directory, target)?.keys() ?? [])];
  const { groups, chosen, setChosen, presets } = useColumns(
    keys,
    exportColumnsOf(shownColumns.current),
    format === 'json',
  );
  const id = useId();
  const columns = groups.flatMap((group) => group.columns);
  const canRun = step.kind !== 'running' && chosen.size > 0;
  return (
    <Dialog
      title={`Export ${describeTarget(target)}`}
      onClose={step.kind === 'running' ? stop : onClose}
      onSubmit={() => {
        if (step.kind === 'done' && step.missing.length === 0) onClose();
        else if (step.kind === 'done') void run(format, [...step.columns, ...step.missing.map(attributePath)], true);
        else if (canRun) {
          const single = columns.filter((column) => attributeKeyOf(column) !== undefined);
          const hasAll = single.length > 0 && single.every((column) => chosen.has(column));
          void run(
            format,
            columns.filter((column) => chosen.has(column)),
            hasAll && !chosen.has('attributes'),
          );
        }
      }}
      footer={<Buttons step={step} canRun={canRun} onStop={stop} onClose={onClose} />}
    >
      <div class="stack">
        <QueryDetails target={target} />
        {step.kind === 'ready' || step.kind === 'failed' ? (
          <>
            <label class="field">
              <span class="label">Format</span>
              <select
                class="input"
                value={format}
                onChange={(event) => {
                  const { value } = event.currentTarget;
                  setFormat(exportFormats.find(([name]) => name === value)?.[0] ?? format);
                }}
              >
                {exportFormats.map(([name, label]) => (
                  <option key={name} value={name}>
                    {label}
                  </option>
                ))}
              </select>
            </label>
            <ColumnChoice groups={groups} chosen={chosen} presets={presets} onChange={setChosen} />
            <p class="hint">
              {hintOf(target)} {formatHints[format]}
              {format === 'csv' && importFields.some((path) => !chosen.has(path)) && ` ${importHint}`}
            </p>
          </>
        ) : null}
        <span id={id} class="visually-hidden">
          Progress of the export
        </span>
        {step.kind === 'running' ? (
          <progress
            class="progress"
            aria-labelledby={id}
            {...(target.count !== undefined && { max: target.count, value: step.rows })}
          />
        ) : null}
        {step.kind === 'ready' ? null : (
          <p class={noticeClass(step)} role="status">
            <span class="numeric">{describeStep(step)}</span>
          </p>
        )}
      </div>
    </Dialog>
  );
}

interface ButtonsProps {
  readonly step: Step;
  readonly canRun: boolean;
  onStop(): void;
  onClose(): void;
}

function Buttons({ step, canRun, onStop, onClose }: ButtonsProps) {
  if (step.kind === 'running') {
    return (
      <button type="button" class="button" onClick={onStop}>
        Stop
      </button>
    );
  }
  if (step.kind === 'done' && step.missing.length === 0) {
    return (
      <button type="submit" class="button primary">
        Close
      </button>
    );
  }
  return (
    <>
      <button type="button" class="button" onClick={onClose}>
        {step.kind === 'done' ? 'Close' : 'Cancel'}
      </button>
      <button type="submit" class="button primary" data-focus aria-disabled={!canRun}>
        {submitText[step.kind]}
      </button>
    </>
  );
}

const submitText = { ready: 'Export', failed: 'Try again', done: 'Export again with these' };

const formatHints: Readonly<Record<ExportFormat, string>> = {
  csv: 'Cells are not escaped. A spreadsheet may run a cell that begins with =, +, - or @ as a formula.',
  excel: `Cells are separated by ${excelDelimiter() === ';' ? 'semicolons' : 'commas'}, as Excel expects in your language. A cell that a spreadsheet would run as a formula begins with an apostrophe. An import removes it.`,
  json: 'The file is one list, with one user on each line.',
};

const importFields = ['first_name', 'email'];
const importHint = 'A later import needs the columns First name and Email.';

function hintOf({ isAll, query }: BulkTarget): string {
  if (!isAll) return '';
  return query.query === ''
    ? 'The file is one snapshot, ordered by id.'
    : 'Changes that others make during the export may be missing from the file.';
}

function useExport(directory: Directory, target: BulkTarget) {
  const [step, setStep] = useState<Step>({ kind: 'ready' });
  const [stopping, setStopping] = useState<AbortController>();
  useEffect(() => () => stopping?.abort(), [stopping]);

  /** `isWhole`: whether the file should have all attributes of the users. */
  async function run(format: ExportFormat, columns: readonly string[], isWhole: boolean): Promise<void> {
    const file = createExportFile(format, columns);
    const name = `roster-${new Date().toISOString().slice(0, 10)}.${file.extension}`;
    const controller = new AbortController();
    let rows = 0;
    const missing = new Set<string>();
    try {
      const sink = await openSink(name, file);
      if (sink === undefined) return;
      setStopping(controller);
      setStep({ kind: 'running', rows });
      const users = readUsers(directory, target, controller.signal);
      const watched = isWhole ? watchAttributes(users, columns, missing) : users;
      const blob = await writeUsers(sink, file, watched, (count) => {
        rows = count;
        setStep({ kind: 'running', rows });
      });
      if (blob !== undefined) download(blob, name);
      setStep({ kind: 'done', rows, columns, missing: [...missing].sort() });
    } catch (error) {
      const problem = isAborted(error) ? '' : describeFailure(error);
      setStep({ kind: 'failed', rows, problem });
    }
  }
  return { step, run, stop: () => stopping?.abort() };
}

/** Shows the search and the filter if all users that match are exported. */
function QueryDetails({ target: { isAll, query } }: { target: BulkTarget }) {
  if (!isAll || selectsAll(query)) return null;
  return (
    <dl class="details">
      {query.query === '' ? null : (
        <div>
          <dt>Search</dt>
          <dd dir="auto">{query.query}</dd>
        </div>
      )}
      {query.filter === '' ? null : (
        <div>
          <dt>Filter</dt>
          <dd>
            <FilterWords filter={query.filter} />
          </dd>
        </div>
      )}
    </dl>
  );
}

/** The filter as the list's chips are, or as an expression if it is not made of chips. */
function FilterWords({ filter }: { filter: string }) {
  const chips = readChips(filter);
  if (chips === undefined) return <code>{filter}</code>;
  return (
    <ul class="filter-words">
      {chips.map((chip, at) => (
        <li key={at} dir="auto">
          {chipText(chip)}
        </li>
      ))}
    </ul>
  );
}

interface ColumnGroup {
  readonly title: string;
  readonly columns: readonly string[];
}

interface Preset {
  readonly label: string;
  choose(): void;
}

const fieldPaths = exportFields.map(([path]) => path);
const labels = new Map(exportFields);
const labelOf = (column: string) => labels.get(column) ?? attributeKeyOf(column);

/** The columns in the order of the file, and those of them that are chosen: first those of the list, if it has some. */
function useColumns(keys: readonly string[], inList: readonly string[], isJson: boolean) {
  const [choice, setChoice] = useState<{ readonly isAsList: boolean; readonly chosen: ReadonlySet<string> }>();
  const isAsList = choice?.isAsList ?? inList.length > 0;
  const own = [...keys.map(attributePath), ...inList.filter((column) => !labels.has(column))];
  const attributes = [...new Set(own)];
  const others = (columns: readonly string[]) => columns.filter((column) => !inList.includes(column));
  const groups: readonly ColumnGroup[] = isAsList
    ? [
        { title: '', columns: inList },
        { title: 'Other fields', columns: others(fieldPaths) },
        { title: 'Other attributes', columns: others(attributes) },
      ]
    : [
        { title: '', columns: fieldPaths },
        { title: isJson ? 'Single attributes' : 'Attributes as columns of their own', columns: attributes },
      ];
  const asList = { label: 'As in the list', choose: () => setChoice({ isAsList: true, chosen: new Set(inList) }) };
  const all = { label: 'All fields', choose: () => setChoice({ isAsList: false, chosen: new Set(fieldPaths) }) };
  const columns = [...fieldPaths.filter((path) => path !== 'attributes'), ...attributes];
  const split = {
    label: 'All, attributes as columns',
    choose: () => setChoice({ isAsList: false, chosen: new Set(columns) }),
  };
  return {
    groups,
    chosen: choice?.chosen ?? new Set(isAsList ? inList : fieldPaths),
    setChosen: (chosen: ReadonlySet<string>) => setChoice({ isAsList, chosen }),
    // JSON has no columns.
    presets: [...(inList.length > 0 ? [asList] : []), all, ...(attributes.length > 0 && !isJson ? [split] : [])],
  };
}

interface ColumnChoiceProps {
  readonly groups: readonly ColumnGroup[];
  readonly chosen: ReadonlySet<string>;
  readonly presets: readonly Preset[];
  onChange(chosen: ReadonlySet<string>): void;
}

function ColumnChoice({ groups, chosen, presets, onChange }: ColumnChoiceProps) {
  const box = (column: string) => (
    <label key={column}>
      <input
        type="checkbox"
        checked={chosen.has(column)}
        onChange={(event) => {
          const next = new Set(chosen);
          if (event.currentTarget.checked) next.add(column);
          else next.delete(column);
          onChange(next);
        }}
      />
      <span class="truncate" dir="auto" title={labelOf(column)}>
        {labelOf(column)}
      </span>
    </label>
  );
  return (
    <fieldset class="export-columns">
      <legend>Columns</legend>
      <div class="line wrap">
        {presets.map(({ label, choose }) => (
          <button key={label} type="button" class="button small" onClick={choose}>
            {label}
          </button>
        ))}
      </div>
      {groups
        .filter(({ columns }) => columns.length > 0)
        .map(({ title, columns }) => (
          <Fragment key={title}>
            {title !== '' && <p class="soft">{title}</p>}
            <div class="boxes">{columns.map(box)}</div>
          </Fragment>
        ))}
    </fieldset>
  );
}

function noticeClass(step: Step): string {
  if (step.kind === 'done') return step.missing.length === 0 ? 'notice success' : 'notice warning';
  return step.kind === 'failed' ? 'notice danger' : '';
}

function describeStep(step: Exclude<Step, { kind: 'ready' }>): string {
  const users = step.rows === 1 ? 'One user' : `${formatCount(step.rows)} users`;
  if (step.kind === 'running') return `${users} so far`;
  if (step.kind === 'done') return `${users} exported.${describeMissing(step.missing)}`;
  return step.problem === '' ? 'Stopped; no file was written.' : `${step.problem} No file was written.`;
}

const namedMax = 10;

function describeMissing(keys: readonly string[]): string {
  if (keys.length === 0) return '';
  const names = keys.slice(0, namedMax).map((key) => `“${key}”`);
  const rest = keys.length > namedMax ? ` and ${formatCount(keys.length - namedMax)} more` : '';
  return ` The file lacks attributes that only few of them have: ${names.join(', ')}${rest}.`;
}
