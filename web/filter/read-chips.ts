/**
 * Reads the chips back from the text of a filter. Accepts exactly the shapes that filter-chips.ts writes, with any white
 * space, quotes and parentheses, so a chip never means anything else than the text.
 */
import { relativeDayOf } from '../text/relative-days.js';
import { type CelNode, parseCel } from './cel-syntax.js';
import {
  type Chip,
  type ChipValue,
  columnKind,
  type FieldPath,
  isAttribute,
  spellingsOf,
  writeChip,
  writeChips,
} from './filter-chips.js';

/** Returns no chips for a blank text, and undefined for a text that is not made of chips. */
export function readChips(text: string): readonly Chip[] | undefined {
  if (text.trim() === '') return [];
  const root = parseCel(text);
  if (root === undefined) return undefined;
  return root.kind === 'and' ? readTerms(root.terms) : readTerm(root);
}

/** Reads conditions that must all be true. */
function readTerms(terms: readonly CelNode[]): readonly Chip[] | undefined {
  const chips: Chip[] = [];
  for (let at = 0; at < terms.length; at++) {
    const term = terms[at];
    const read = term && readTerm(term);
    // `has(f) && !(f in ["", null])` is one chip, also without parentheses.
    const pair = read === undefined ? readChip({ kind: 'and', terms: terms.slice(at, at + 2) }) : undefined;
    if (pair !== undefined) at++;
    const found = read ?? (pair && [pair]);
    if (found === undefined) return undefined;
    chips.push(...found);
  }
  return chips;
}

/** Reads a condition, or several in parentheses. */
function readTerm(node: CelNode): readonly Chip[] | undefined {
  const chip = readChip(node);
  if (chip !== undefined) return [chip];
  if (node.kind === 'group') return readTerm(node.term);
  return node.kind === 'and' ? readTerms(node.terms) : undefined;
}

/** Returns a filter that also requires the chip. */
export function withChip(filter: string, chip: Chip): string {
  const chips = readChips(filter);
  // The line break ends a comment.
  return chips === undefined ? `(${filter}\n) && ${writeChip(chip)}` : writeChips([...chips, chip]);
}

function readChip(node: CelNode): Chip | undefined {
  const chip = guessChip(node);
  if (chip === undefined || !isKnown(chip)) return undefined;
  // The guess looks only at some parts of the node. The chip is right if it is written in the same way.
  const written = parseCel(writeChip(chip));
  return written !== undefined && JSON.stringify(ungrouped(written)) === JSON.stringify(ungrouped(node))
    ? chip
    : undefined;
}

/** Without the parentheses around the whole condition, or around what is negated. */
function ungrouped(node: CelNode): CelNode {
  if (node.kind === 'group') return ungrouped(node.term);
  return node.kind === 'not' ? { kind: 'not', term: ungrouped(node.term) } : node;
}

const isDay = (value: ChipValue) =>
  /^\d{4}-\d\d-\d\d$/.test(String(value)) || relativeDayOf(String(value)) !== undefined;

/** Whether the chip's field exists, and has this operator. */
function isKnown({ path, others = [], operator, values }: Chip): boolean {
  const kind = columnKind(path);
  if (kind === undefined) {
    if (![path, ...others].every((each) => isAttribute(each) && each.length > 1)) return false;
  } else if (path.length > 1 || others.length > 0 || values.some((value) => typeof value !== 'string')) return false;
  switch (operator) {
    case 'includes':
    case 'includesNot':
      return kind === undefined;
    case 'atLeast':
    case 'atMost':
    case 'more':
    case 'less':
    case 'between':
      return values.every((value) => typeof value === 'number');
    case 'before':
    case 'since':
    case 'within':
      return kind === 'timestamp' || (kind === undefined && values.every(isDay));
    default:
      return kind !== 'timestamp';
  }
}

function guessChip(node: CelNode): Chip | undefined {
  switch (node.kind) {
    case 'group':
      return guessChip(node.term);
    case 'not':
      return guessNegated(node.term);
    case 'and':
      return guessRange(node.terms);
    case 'or':
      return guessAlternatives(node.terms);
    case 'call':
      return guessMatch(node);
    case 'relation':
      return guessRelation(node);
  }
  return undefined;
}

const negations = { is: 'isNot', contains: 'containsNot', includes: 'includesNot' } as const;

function guessNegated(node: CelNode): Chip | undefined {
  const chip = guessChip(node);
  if (chip === undefined) return undefined;
  const operator = Object.entries(negations).find(([positive]) => positive === chip.operator)?.[1];
  return operator === undefined ? undefined : { ...chip, operator };
}

/** Two comparisons of one field, or `has(f) && !(f in ["", null])`. */
function guessRange([first, second]: readonly CelNode[]): Chip | undefined {
  if (first?.kind === 'call' && first.name === 'has' && first.argument.kind === 'path') {
    return { path: first.argument.path, operator: 'isNotEmpty', values: [] };
  }
  if (first?.kind !== 'relation' || second?.kind !== 'relation' || first.left.kind !== 'path') return undefined;
  const values = valuesOf([first.right, second.right]);
  if (values === undefined) return undefined;
  return { path: first.left.path, operator: second.operator === '<=' ? 'between' : 'within', values };
}

/** One text in several spellings or fields, several elements of one list, or `!has(f) || f in ["", null]`. */
function guessAlternatives(terms: readonly CelNode[]): Chip | undefined {
  const [first] = terms;
  if (first?.kind === 'not') {
    const { term } = first;
    if (term.kind !== 'call' || term.argument.kind !== 'path') return undefined;
    return { path: term.argument.path, operator: 'isEmpty', values: [] };
  }
  if (first?.kind === 'relation' && first.right.kind === 'path') {
    const values = valuesOf(terms.map((term) => (term.kind === 'relation' ? term.left : term)));
    return values && { path: first.right.path, operator: 'includes', values };
  }
  const paths: FieldPath[] = [];
  for (const term of terms) {
    if (term.kind !== 'call' || term.target?.kind !== 'path') return undefined;
    const { path } = term.target;
    if (JSON.stringify(path) !== JSON.stringify(paths.at(-1))) paths.push(path);
  }
  const [path, ...others] = paths;
  const values = first?.kind === 'call' ? valuesOf([first.argument]) : undefined;
  if (path === undefined || values === undefined) return undefined;
  return { path, operator: 'contains', values, ...(others.length === 0 ? {} : { others }) };
}

function guessMatch({ name, target, argument }: CelNode & { kind: 'call' }): Chip | undefined {
  const values = valuesOf([argument]);
  if (target?.kind !== 'path' || values === undefined) return undefined;
  const { path } = target;
  if (name === 'startsWith' || name === 'endsWith') return { path, operator: name, values };
  const hasOneSpelling = spellingsOf(path, String(values[0])).length === 1;
  return { path, operator: hasOneSpelling ? 'contains' : 'containsExactly', values };
}

function guessRelation({ operator, left, right }: CelNode & { kind: 'relation' }): Chip | undefined {
  if (right.kind === 'path') {
    const values = valuesOf([left]);
    return values && { path: right.path, operator: 'includes', values };
  }
  if (left.kind !== 'path') return undefined;
  const { path } = left;
  const values = right.kind === 'list' ? valuesOf(right.items) : valuesOf([right]);
  if (values === undefined || values.length === 0) return undefined;
  const isBlank = !isAttribute(path) && values.length === 1 && values[0] === '';
  const isTime = typeof values[0] === 'string';
  switch (operator) {
    case '==':
      return isBlank ? { path, operator: 'isEmpty', values: [] } : { path, operator: 'is', values };
    case 'in':
      return values.length > 1 ? { path, operator: 'is', values } : undefined;
    case '!=':
      return isBlank ? { path, operator: 'isNotEmpty', values: [] } : { path, operator: 'isNot', values };
    case '>=':
      return { path, operator: isTime ? 'since' : 'atLeast', values };
    case '<':
      return { path, operator: isTime ? 'before' : 'less', values };
    case '<=':
      return isTime ? undefined : { path, operator: 'atMost', values };
    case '>':
      return isTime ? undefined : { path, operator: 'more', values };
  }
  return undefined;
}

function valuesOf(nodes: readonly CelNode[]): readonly ChipValue[] | undefined {
  const values = nodes.map((node) => {
    if (node.kind === 'value') return node.value ?? undefined;
    if (node.kind === 'relativeDay') return node.text;
    const isTime = node.kind === 'call' && node.name === 'timestamp' && node.target === undefined;
    if (isTime && node.argument.kind === 'relativeDay') return node.argument.text;
    if (!isTime || node.argument.kind !== 'value') return undefined;
    return typeof node.argument.value === 'string' ? node.argument.value : undefined;
  });
  return values.every((value) => value !== undefined) ? values : undefined;
}
