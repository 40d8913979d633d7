/** A chip that searches a text in several attributes: how many a filter has room for, and which of them it leaves out. */
import { sentFilter } from '../text/relative-days.js';
import { type Chip, type FieldPath, isSamePath, writeChip } from './filter-chips.js';
import { withChip } from './read-chips.js';
import { type SampledField, searchedFields } from './user-sample.js';

/** The limit of ListUsers. */
const charactersMax = 2048;
/** The list adds the id of a changed user, to ask whether the user still matches. */
const reservedCharacters = 64;

export function isTextSearch({ others = [] }: Chip): boolean {
  return others.length > 0;
}

/** The characters that a chip may have beside the other conditions of a filter. */
export function roomBeside(filter: string): number {
  const chip: Chip = { path: ['email'], operator: 'isEmpty', values: [] };
  const others = sentFilter(withChip(filter, chip)).length - writeChip(chip).length;
  return charactersMax - reservedCharacters - others;
}

/** The chip with as many of the attributes as there is room for, and with at least one. */
export function searchIn(chip: Chip, paths: readonly FieldPath[], room: number): Chip {
  const found = paths.reduce<Chip | undefined>((before, path) => {
    const next = before === undefined ? { ...chip, path, others: [] } : withAttribute(before, path);
    return before === undefined || writeChip(next).length <= room ? next : before;
  }, undefined);
  if (found === undefined) return chip;
  const { others = [], ...single } = found;
  return others.length === 0 ? single : found;
}

function withAttribute(chip: Chip, path: FieldPath): Chip {
  return { ...chip, others: [...(chip.others ?? []), path] };
}

export function searchedBy({ path, others = [] }: Chip): readonly FieldPath[] {
  return [path, ...others];
}

/**
 * The sampled attributes that the chip does not search, although they may contain its text. Those after the last one that it
 * searches come first, so that a search of these and then of the rest reaches all.
 */
export function unsearchedPaths(chip: Chip, fields: readonly SampledField[]): readonly FieldPath[] {
  const searched = searchedBy(chip);
  const isSearched = ({ path }: SampledField) => searched.some((each) => isSamePath(each, path));
  const known = searchedFields(fields);
  const next = known.findLastIndex(isSearched) + 1;
  const hasDigit = /\d/.test(String(chip.values[0] ?? ''));
  return [...known.slice(next), ...known.slice(0, next)]
    .filter((field) => !isSearched(field) && (field.kind !== 'date' || hasDigit))
    .map(({ path }) => path);
}

/** The chip that searches the attributes that `chip` does not, and others if there is room. */
export function searchOfRest(chip: Chip, fields: readonly SampledField[], room: number): Chip {
  return searchIn(chip, [...unsearchedPaths(chip, fields), ...searchedBy(chip)], room);
}
