/** The second step of a chip: its operator and its values. Enter applies them. */
import { useRef, useState } from 'preact/hooks';
import { understoodText } from '../text/parse-number.js';
import { relativeDayOf } from '../text/relative-days.js';
import { useMedia } from '../ui/theme.js';
import { type ChipDraft, chipOf, shownDays, withOperator } from './chip-draft.js';
import { periodsOf } from './chip-values.js';
import { type Chip, type ChipValue, isDateOperator, isSamePath } from './filter-chips.js';
import { labelOfField, operatorsOf, operatorText, valuesOf } from './filter-fields.js';
import { SearchedAttributes } from './searched-attributes.js';
import { searchedBy, searchIn } from './text-search.js';
import type { SampledValue, UserSample } from './user-sample.js';
import { DayField, SeveralValues, TextValue } from './value-fields.js';

export interface ChipEditorProps {
  readonly start: ChipDraft;
  readonly isNew: boolean;
  readonly sample: UserSample | undefined;
  /** The characters that the filter has for this chip. */
  readonly room: number;
  onApply(chip: Chip): void;
  onCancel(): void;
}

export function ChipEditor({ start, isNew, sample, room, onApply, onCancel }: ChipEditorProps) {
  const [draft, setDraft] = useState(start);
  const [problem, setProblem] = useState('');
  const hasKeys = !useMedia('(pointer: coarse)');
  const active = useRef<ChipValue | undefined>(undefined);
  const change = (next: ChipDraft) => {
    setDraft(next);
    setProblem('');
  };
  const apply = (next = draft) => {
    const result = chipOf(withActive(next, active.current));
    if ('chip' in result) onApply(searchIn(result.chip, searchedBy(result.chip), room));
    else setProblem(result.problem);
  };
  const { path, kind, operator } = draft;
  const isSearch = start.others.length > 0;
  const label = isSearch ? 'Text in any attribute' : labelOfField(path);
  return (
    <form
      class="chip-editor"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        apply();
      }}
    >
      <div class="chip-editor-head">
        <strong class="truncate">
          <bdi>{label}</bdi>
        </strong>
        {!isSearch && (
          <select
            class="input"
            aria-label="Operator"
            value={operator}
            onKeyDown={(event) => {
              // There is no field of a value for this key.
              if (event.key !== 'Enter' || valuesOf(operator) !== 'none') return;
              event.preventDefault();
              apply();
            }}
            onChange={(event) => {
              const { value } = event.currentTarget;
              const chosen = operatorsOf(kind, operator).find((known) => known === value);
              if (chosen !== undefined) change(withOperator(draft, chosen));
            }}
          >
            {operatorsOf(kind, operator).map((name) => (
              <option key={name} value={name}>
                {operatorText(name)}
              </option>
            ))}
          </select>
        )}
      </div>
      <DraftValues
        draft={draft}
        sample={sample}
        onChange={change}
        onActive={(value) => {
          active.current = value;
        }}
        onApply={apply}
      />
      {isSearch && <SearchedAttributes draft={draft} start={start} sample={sample} room={room} onChange={change} />}
      {problem !== '' && (
        <p class="error" role="alert">
          {problem}
        </p>
      )}
      <div class="popup-foot">
        <span class="hint grow">{hintOf(draft, hasKeys)}</span>
        <button type="button" class="button quiet small" onClick={onCancel}>
          Cancel
        </button>
        <button type="submit" class="button primary small">
          {isNew ? 'Add filter' : 'Apply'}
        </button>
      </div>
    </form>
  );
}

/** The button applies the same value as Enter: the active one in the list, if a text was typed. */
function withActive(draft: ChipDraft, active: ChipValue | undefined): ChipDraft {
  const { operator, values, texts } = draft;
  if (valuesOf(operator) !== 'several' || texts[0].trim() === '' || active === undefined) return draft;
  return { ...draft, values: values.includes(active) ? values : [...values, active], texts: ['', texts[1]] };
}

function hintOf({ operator, kind, texts }: ChipDraft, hasKeys: boolean): string {
  if (isDateOperator(operator) && texts.some((text) => relativeDayOf(text) !== undefined))
    return 'Moves with the calendar.';
  if (operator === 'startsWith' || operator === 'endsWith' || operator === 'containsExactly') {
    return kind === 'email' ? '' : 'Capital letters matter.';
  }
  if (kind === 'number' && valuesOf(operator) !== 'several') return understoodText(...texts);
  return hasKeys && valuesOf(operator) === 'several' && kind !== 'id' ? '↓ and Space select several.' : '';
}

interface DraftValuesProps {
  readonly draft: ChipDraft;
  readonly sample: UserSample | undefined;
  onChange(draft: ChipDraft): void;
  onActive(value: ChipValue | undefined): void;
  onApply(draft?: ChipDraft): void;
}

function DraftValues({ draft, sample, onChange, onActive, onApply }: DraftValuesProps) {
  const { kind, operator, values, texts } = draft;
  const [first, second] = texts;
  const setFirst = (text: string) => onChange({ ...draft, texts: [text, second] });
  const setSecond = (text: string) => onChange({ ...draft, texts: [first, text] });
  const apply = () => onApply();
  if (isDateOperator(operator)) {
    const isRange = operator === 'within';
    const [from, to] = shownDays(draft);
    return (
      <>
        <div class="two-values">
          <DayField
            label={isRange ? 'From' : 'Day'}
            day={from}
            isLabelShown={isRange}
            onDay={setFirst}
            onApply={apply}
          />
          {isRange && <DayField label="To" day={to} isLabelShown onDay={setSecond} onApply={apply} />}
        </div>
        {operator !== 'before' && <Periods draft={draft} onApply={onApply} />}
      </>
    );
  }
  switch (valuesOf(operator)) {
    case 'none':
      return null;
    case 'several':
      return (
        <SeveralValues
          label="Values"
          kind={kind}
          values={values}
          suggestions={suggestionsFor(draft, sample)}
          sample={sample}
          text={first}
          onText={setFirst}
          onValues={(next) => onChange({ ...draft, values: next, texts: ['', second] })}
          onActive={onActive}
          onApply={(next = values) =>
            onApply({ ...draft, values: next, texts: next === values ? texts : ['', second] })
          }
        />
      );
    case 'one':
      return <TextValue label="Value" kind={kind} text={first} onText={setFirst} onApply={apply} />;
    case 'two':
      return (
        <div class="two-values">
          <TextValue label="From" kind={kind} text={first} onText={setFirst} onApply={apply} />
          <TextValue label="To" kind={kind} text={second} onText={setSecond} onApply={apply} />
        </div>
      );
  }
}

function Periods({ draft, onApply }: Pick<DraftValuesProps, 'draft' | 'onApply'>) {
  return (
    <div class="line wrap">
      {periodsOf(draft.kind).map(({ label, operator, values: [first = '', second = ''] }) => (
        <button
          key={label}
          type="button"
          class="button small"
          aria-pressed={operator === draft.operator && first === draft.texts[0] && second === draft.texts[1]}
          onClick={() => onApply({ ...draft, operator, texts: [first, second] })}
        >
          {label}
        </button>
      ))}
    </div>
  );
}

/** So few numbers are read as a scale. Of more, the most frequent are more useful. */
const orderedMax = 20;

function suggestionsFor({ path, kind }: ChipDraft, sample: UserSample | undefined): readonly SampledValue[] {
  // Hardly any two users share an email or an id.
  if (kind === 'email' || kind === 'id') return [];
  const values = sample?.fields.find((field) => isSamePath(field.path, path))?.values ?? [];
  if (kind !== 'number' || values.length > orderedMax) return values;
  return values.toSorted((a, b) => Number(a.value) - Number(b.value));
}
