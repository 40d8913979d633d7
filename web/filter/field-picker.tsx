/** The first step of a new chip: choose the field, an attribute that occurs, or an attribute by its key. */
import { useState } from 'preact/hooks';
import { foldText } from '../text/fold-text.js';
import { type Option, OptionField } from '../ui/listbox.js';
import type { FieldPath } from './filter-chips.js';
import { type FieldKind, type FilterFieldInfo, firstFields, labelOfField, otherFields } from './filter-fields.js';
import { type SampledField, searchedPaths, sharesText, shareText, type UserSample } from './user-sample.js';

export interface FieldPickerProps {
  readonly sample: UserSample | undefined;
  onPick(path: FieldPath, kind: FieldKind, others?: readonly FieldPath[]): void;
  /** Called for an attribute that the sample does not contain. */
  onPickRare(path: FieldPath): void;
  onAdvanced(): void;
}

interface Choice extends Option {
  pick(): void;
}

export function FieldPicker({ sample, onPick, onPickRare, onAdvanced }: FieldPickerProps) {
  const [text, setText] = useState('');
  const attributes = (sample?.fields ?? []).filter(({ path }) => path[0] === 'attributes');
  const fromField = (field: FilterFieldInfo, group: string, detail?: string): Choice => ({
    key: JSON.stringify(field.path),
    label: <bdi>{labelOfField(field.path)}</bdi>,
    group,
    ...(detail === undefined ? {} : { detail }),
    pick: () => onPick(field.path, field.kind),
  });
  const folded = foldText(text);
  const isWanted = ({ path }: FilterFieldInfo) => foldText(labelOfField(path)).includes(folded);
  const choices = [
    ...firstFields.filter(isWanted).map((field) => fromField(field, 'User')),
    ...attributes.filter(isWanted).map((field) => fromField(field, 'Attributes', shareText(field.count, sample))),
    ...searchChoice(attributes, text, onPick),
    ...otherFields.filter(isWanted).map((field) => fromField(field, 'Other fields')),
    ...typedChoice(attributes, text, onPickRare),
  ];
  return (
    <div class="field-picker">
      <OptionField
        label="Filter by"
        placeholder="Filter by…"
        text={text}
        options={choices}
        startsAt={0}
        emptyText={sample === undefined ? 'Loading…' : 'No field has this name.'}
        onText={setText}
        onChoose={(key) => choices.find((choice) => choice.key === key)?.pick()}
      />
      {sample !== undefined && attributes.length > 0 && <p class="hint shares">{sharesText(sample)}</p>}
      <div class="popup-foot">
        <button type="button" class="button quiet small" onClick={onAdvanced}>
          Write an expression
        </button>
      </div>
    </div>
  );
}

/** A text in any of the most frequent attributes. */
function searchChoice(attributes: readonly SampledField[], text: string, onPick: FieldPickerProps['onPick']): Choice[] {
  const label = 'Text in any attribute';
  const [first, ...others] = searchedPaths(attributes);
  if (first === undefined || others.length === 0 || !foldText(label).includes(foldText(text))) return [];
  return [{ key: 'any', label, group: 'Attributes', pick: () => onPick(first, 'text', others) }];
}

/** An attribute that the sample does not contain. A dot separates the keys of nested attributes. */
function typedChoice(
  attributes: readonly SampledField[],
  text: string,
  onPick: FieldPickerProps['onPickRare'],
): Choice[] {
  const keys = text.trim().split('.');
  const isIncomplete = keys.some((key) => key.trim() === '');
  if (isIncomplete || attributes.some(({ path }) => path.slice(1).join('.') === keys.join('.'))) return [];
  const path = ['attributes', ...keys];
  return [
    {
      key: 'typed',
      label: (
        <>
          Attribute “<bdi>{keys.join(' › ')}</bdi>”
        </>
      ),
      group: 'Other fields',
      pick: () => onPick(path),
    },
  ];
}
