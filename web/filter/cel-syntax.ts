/**
 * Parses the part of CEL that filters are made of. Returns undefined for anything else, including comments: such a text
 * stays as it was written, and only the server judges it.
 */
import { stringValue, type Token, tokensOf } from '../text/cel-tokens.js';
import { createRelativeDay, writeRelativeDay } from '../text/relative-days.js';

export type CelValue = string | number | boolean | null;

export type CelNode =
  | { readonly kind: 'and' | 'or'; readonly terms: readonly CelNode[] }
  | { readonly kind: 'not'; readonly term: CelNode }
  /** Something in parentheses. */
  | { readonly kind: 'group'; readonly term: CelNode }
  | { readonly kind: 'relation'; readonly operator: string; readonly left: CelNode; readonly right: CelNode }
  | {
      readonly kind: 'call';
      readonly name: string;
      readonly target: CelNode | undefined;
      readonly argument: CelNode;
    }
  /** A field and its keys: `attributes.address["post code"]`. */
  | { readonly kind: 'path'; readonly path: readonly string[] }
  | { readonly kind: 'value'; readonly value: CelValue }
  /** The page's own: `today - 6`. */
  | { readonly kind: 'relativeDay'; readonly text: string }
  | { readonly kind: 'list'; readonly items: readonly CelNode[] };

/** The same as the server's limit of nesting. */
const levelsMax = 32;

const relations: readonly string[] = ['==', '!=', '<', '<=', '>', '>=', 'in'];
const constants: Readonly<Record<string, CelValue>> = { true: true, false: false, null: null };

class NotReadable extends Error {}

export function parseCel(text: string): CelNode | undefined {
  const tokens = tokensOf(text).filter(({ kind }) => kind !== 'space');
  try {
    const parser = new Parser(tokens);
    return parser.parse();
  } catch (error) {
    if (error instanceof NotReadable) return undefined;
    throw error;
  }
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #levels = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  parse(): CelNode {
    const node = this.#or();
    if (this.#at < this.#tokens.length) throw new NotReadable();
    return node;
  }

  #accept(text: string): boolean {
    const token = this.#tokens[this.#at];
    if (token?.text !== text || (token.kind !== 'operator' && token.kind !== 'name')) return false;
    this.#at++;
    return true;
  }

  #expect(text: string): void {
    if (!this.#accept(text)) throw new NotReadable();
  }

  #next(): Token {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw new NotReadable();
    return token;
  }

  #nested<Result>(parse: () => Result): Result {
    if (++this.#levels > levelsMax) throw new NotReadable();
    const result = parse();
    this.#levels--;
    return result;
  }

  #or(): CelNode {
    return this.#chain('or', '||', () => this.#chain('and', '&&', () => this.#relation()));
  }

  #chain(kind: 'and' | 'or', operator: string, parseTerm: () => CelNode): CelNode {
    const first = parseTerm();
    const terms = [first];
    while (this.#accept(operator)) terms.push(parseTerm());
    return terms.length === 1 ? first : { kind, terms };
  }

  #relation(): CelNode {
    const left = this.#unary();
    const operator = relations.find((relation) => this.#accept(relation));
    if (operator === undefined) return left;
    return { kind: 'relation', operator, left, right: this.#unary() };
  }

  #unary(): CelNode {
    if (this.#accept('!')) return { kind: 'not', term: this.#nested(() => this.#unary()) };
    return this.#member(this.#primary());
  }

  #member(start: CelNode): CelNode {
    let node = start;
    while (true) {
      if (this.#accept('.')) {
        const { kind, text: name } = this.#next();
        if (kind !== 'name' || name === 'in' || Object.hasOwn(constants, name)) throw new NotReadable();
        node = this.#accept('(') ? this.#call(name, node) : { kind: 'path', path: [...pathOf(node), name] };
      } else if (this.#accept('[')) {
        const key = stringValue(this.#next().text);
        if (key === undefined) throw new NotReadable();
        this.#expect(']');
        node = { kind: 'path', path: [...pathOf(node), key] };
      } else return node;
    }
  }

  #call(name: string, target: CelNode | undefined): CelNode {
    const argument = this.#nested(() => this.#or());
    this.#expect(')');
    return { kind: 'call', name, target, argument };
  }

  #primary(): CelNode {
    const { kind, text } = this.#next();
    if (kind === 'string') {
      const value = stringValue(text);
      if (value === undefined) throw new NotReadable();
      return { kind: 'value', value };
    }
    if (kind === 'number') return { kind: 'value', value: numberOf(text) };
    if (text === '-') return { kind: 'value', value: -numberOf(this.#next().text) };
    if (text === '(') {
      const term = this.#nested(() => this.#or());
      this.#expect(')');
      return { kind: 'group', term };
    }
    if (text === '[') return { kind: 'list', items: this.#items() };
    if (kind !== 'name') throw new NotReadable();
    if (Object.hasOwn(constants, text)) return { kind: 'value', value: constants[text] ?? null };
    if (text === 'in') throw new NotReadable();
    if (this.#accept('(')) return this.#call(text, undefined);
    return this.#relativeDay(text) ?? { kind: 'path', path: [text] };
  }

  #relativeDay(name: string): CelNode | undefined {
    const [sign, digits] = [this.#tokens[this.#at]?.text, this.#tokens[this.#at + 1]?.text];
    const day = createRelativeDay(name, sign, digits);
    if (day === undefined) return undefined;
    if (sign === '-' || sign === '+') this.#at += 2;
    return { kind: 'relativeDay', text: writeRelativeDay(day) };
  }

  #items(): CelNode[] {
    if (this.#accept(']')) return [];
    const items: CelNode[] = [];
    do items.push(this.#nested(() => this.#or()));
    while (this.#accept(','));
    this.#expect(']');
    return items;
  }
}

function pathOf(node: CelNode): readonly string[] {
  if (node.kind !== 'path') throw new NotReadable();
  return node.path;
}

function numberOf(text: string): number {
  const value = /^\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : Number.NaN;
  // The server refuses an integer with more than 64 bits.
  if (!Number.isFinite(value) || (/^\d+$/.test(text) && value >= 2 ** 63)) throw new NotReadable();
  return value;
}
