/**
 * An editor for the expression of a filter: colours, completion, and a mark at the server's error.
 *
 * It lives in a shadow root. There CodeMirror adopts style sheets, which the page's Content-Security-Policy allows. In the
 * document itself it would add a <style> element, which the policy forbids.
 */
import {
  autocompletion,
  type Completion,
  type CompletionContext,
  type CompletionResult,
  closeBrackets,
  closeBracketsKeymap,
  completionKeymap,
} from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { setDiagnostics } from '@codemirror/lint';
import { EditorState, type Range } from '@codemirror/state';
import {
  Decoration,
  type DecorationSet,
  EditorView,
  keymap,
  placeholder,
  ViewPlugin,
  type ViewUpdate,
} from '@codemirror/view';
import { filterFields } from '../../src/fields.js';
import { quoted, tokensOf } from '../text/cel-tokens.js';
import { relativeUnits } from '../text/relative-days.js';
import { writePath } from './filter-chips.js';
import type { Mistake } from './filter-mistake.js';
import type { SampledField, UserSample } from './user-sample.js';

export interface CelEditorOptions {
  readonly text: string;
  onText(text: string): void;
  /** Called if a change was refused because the expression would be too long. */
  onTooLong(): void;
  onEnter(text: string): void;
  onEscape(): void;
  readSample(): Promise<UserSample>;
}

export interface CelEditor {
  setText(text: string): void;
  setMistake(mistake: Mistake | undefined): void;
  focus(): void;
  close(): void;
}

/** The server's limit, in Unicode code points. */
export const charactersMax = 2048;

export function createCelEditor(host: HTMLElement, options: CelEditorOptions): CelEditor {
  const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' });
  let isOwnChange = false;
  const view: EditorView = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: options.text,
      extensions: [
        history(),
        closeBrackets(),
        typedOver,
        autocompletion({ override: [(context) => complete(context, options)], icons: false, interactionDelay: 0 }),
        keymap.of([
          { key: 'Enter', run: () => run(() => options.onEnter(view.state.doc.toString())) },
          { key: 'Mod-Enter', run: () => run(() => options.onEnter(view.state.doc.toString())) },
          { key: 'Escape', run: () => run(options.onEscape) },
        ]),
        keymap.of([...closeBracketsKeymap, ...completionKeymap, ...historyKeymap, ...defaultKeymap]),
        EditorView.lineWrapping,
        EditorState.changeFilter.of(({ newDoc, startState }) => {
          // The address may have brought a longer expression, which can be shortened.
          const fits = newDoc.length < startState.doc.length || [...newDoc.toString()].length <= charactersMax;
          if (!fits && !isOwnChange) options.onTooLong();
          return fits;
        }),
        EditorView.contentAttributes.of({ 'aria-label': 'Filter as an expression', spellcheck: 'false' }),
        placeholder('last_name == "Lovelace" && attributes.department == "ops"'),
        colours,
        look,
        EditorView.updateListener.of(({ docChanged, state }) => {
          if (docChanged && !isOwnChange) options.onText(state.doc.toString());
        }),
      ],
    }),
  });
  // In the document, the target of the event is the host, which does not look like a field. So the keys of the list would
  // act on what somebody types here.
  host.addEventListener('keydown', keepKeys);

  return {
    setText(text) {
      isOwnChange = true;
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
      isOwnChange = false;
    },
    setMistake(mistake) {
      const { length } = view.state.doc;
      const found =
        mistake?.at === undefined ? [] : [diagnosticOf(mistake, mistake.at, length, view.state.doc.toString())];
      view.dispatch(setDiagnostics(view.state, found));
      view.contentDOM.setAttribute('aria-invalid', String(mistake !== undefined));
    },
    focus() {
      view.focus();
      view.dispatch({ selection: { anchor: view.state.doc.length } });
    },
    close() {
      host.removeEventListener('keydown', keepKeys);
      view.destroy();
    },
  };
}

/**
 * Replaces a selection itself if somebody types over it. The browser would add the look of the old text to the new one as a
 * style attribute, which the page's Content-Security-Policy refuses with an error on the console.
 */
const typedOver = EditorView.domEventHandlers({
  beforeinput({ inputType, data, isComposing }, view) {
    const { from, to, empty } = view.state.selection.main;
    if (inputType !== 'insertText' || data === null || empty || isComposing) return false;
    const replace = () =>
      view.state.update(view.state.replaceSelection(data), { userEvent: 'input.type', scrollIntoView: true });
    // One of these puts brackets around the selection.
    const handlers = view.state.facet(EditorView.inputHandler);
    if (!handlers.some((handle) => handle(view, from, to, data, replace))) view.dispatch(replace());
    return true;
  },
});

function run(action: () => void): true {
  action();
  return true;
}

function keepKeys(event: KeyboardEvent): void {
  if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
}

/** Marks the token at the error, or the last character if something is missing at the end. */
function diagnosticOf({ text }: Mistake, at: number, length: number, doc: string) {
  const token = tokensOf(doc).find(({ from, text: { length: size } }) => from <= at && at < from + size);
  const from = Math.min(at, Math.max(0, length - 1));
  const to = Math.min(length, token === undefined ? from + 1 : token.from + token.text.length);
  return { from, to, severity: 'error', message: text } as const;
}

const marks = new Map(
  ['string', 'number', 'name', 'operator', 'comment', 'call', 'constant'].map((kind) => [
    kind,
    Decoration.mark({ class: `cel-${kind}` }),
  ]),
);

const wordConstants: readonly string[] = ['true', 'false', 'null', 'in', ...relativeUnits];

function colour(view: EditorView): DecorationSet {
  const text = view.state.doc.toString();
  const ranges: Range<Decoration>[] = [];
  for (const { kind, text: token, from } of tokensOf(text)) {
    const isCall = kind === 'name' && text.charAt(from + token.length) === '(';
    const isConstant = wordConstants.includes(token) && text.charAt(from - 1) !== '.';
    const mark = marks.get(isCall ? 'call' : isConstant ? 'constant' : kind);
    if (mark !== undefined) ranges.push(mark.range(from, from + token.length));
  }
  return Decoration.set(ranges);
}

const colours = ViewPlugin.fromClass(
  class {
    decorations: DecorationSet;
    constructor(view: EditorView) {
      this.decorations = colour(view);
    }
    update({ docChanged, view }: ViewUpdate) {
      if (docChanged) this.decorations = colour(view);
    }
  },
  { decorations: ({ decorations }) => decorations },
);

const functions: readonly Completion[] = [
  { label: 'has', apply: 'has(attributes.', detail: 'the attribute exists', type: 'function' },
  { label: 'timestamp', apply: 'timestamp("', detail: 'a time, such as 2026-01-01T00:00:00Z', type: 'function' },
  { label: 'today', detail: 'on this page: today - 6 is 6 days ago', type: 'constant' },
  { label: 'this_year', detail: 'on this page: its first day', type: 'constant' },
  { label: 'true', type: 'constant' },
  { label: 'false', type: 'constant' },
  { label: 'null', type: 'constant' },
];

const methods: readonly Completion[] = [
  { label: 'contains', apply: 'contains("', detail: 'has this text or element', type: 'method' },
  { label: 'startsWith', apply: 'startsWith("', detail: 'begins with this text', type: 'method' },
  { label: 'endsWith', apply: 'endsWith("', detail: 'ends with this text', type: 'method' },
];

/** Completes fields, functions, the attributes that occur, and the values after a comparison with one of them. */
async function complete(
  context: CompletionContext,
  { readSample }: CelEditorOptions,
): Promise<CompletionResult | null> {
  const value = context.matchBefore(/(?:[\w.]+|\["[^"]*"\])+ *(?:==|!=) *"?[^"&|()]*/);
  const word = context.matchBefore(/[A-Za-z_][\w.]*/);
  if (value === null && word === null && !context.explicit) return null;
  const { fields } = await readSample();
  if (context.aborted) return null;
  if (value !== null) {
    const [comparison = '', field = ''] = /^(.+?) *(?:==|!=) */.exec(value.text) ?? [];
    const sampled = fields.find(({ path }) => writePath(path) === field);
    if (sampled !== undefined)
      return { from: value.from + comparison.length, options: valueOptions(sampled), filter: true };
    // Otherwise Enter would add the first field after a value such as 1.
    if (word === null) return null;
  }
  const options = [
    ...Object.keys(filterFields).map((label) => ({ label, type: 'property' })),
    ...fields
      .filter(({ path }) => path[0] === 'attributes')
      .map(({ path }) => ({ label: writePath(path), type: 'property' })),
    ...functions,
  ];
  const path = word?.text ?? '';
  const dot = path.lastIndexOf('.');
  const isAfterField = dot > 0 && options.some(({ label }) => label === path.slice(0, dot));
  if (isAfterField && word !== null) {
    const children = options.filter(({ label }) => label.startsWith(`${path.slice(0, dot)}.`));
    const inner = children.map(({ label, type }) => ({ label: label.slice(dot + 1), type }));
    return { from: word.from + dot + 1, options: [...methods, ...inner] };
  }
  return { from: word?.from ?? context.pos, options };
}

function valueOptions({ values }: SampledField): Completion[] {
  return values.slice(0, 50).map(({ value, count }) => ({
    label: typeof value === 'string' ? quoted(value) : String(value),
    detail: String(count),
    type: 'constant',
  }));
}

/** The page's own variables have a value for each theme, and apply in the shadow root, too. */
const look = EditorView.theme({
  '&': { fontSize: 'inherit', backgroundColor: 'transparent', color: 'var(--text)' },
  '&.cm-focused': { outline: 'none' },
  '.cm-content': {
    fontFamily: 'var(--font-mono)',
    padding: 'calc((var(--control) - 22px) / 2) 0',
    caretColor: 'var(--text)',
    lineHeight: '20px',
  },
  '.cm-line': { padding: '0 10px' },
  '.cm-scroller': { fontFamily: 'inherit', lineHeight: '20px', maxHeight: '160px' },
  '.cm-placeholder': { color: 'var(--text-faint)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-tooltip': {
    border: '1px solid var(--line)',
    borderRadius: 'var(--radius)',
    backgroundColor: 'var(--raised)',
    color: 'var(--text)',
    boxShadow: 'var(--shadow-raised)',
    overflow: 'hidden',
  },
  '.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--font-mono)', maxHeight: '240px' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li': { padding: '4px 10px', lineHeight: '20px' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]': {
    backgroundColor: 'var(--selected)',
    color: 'var(--text)',
  },
  '.cm-completionMatchedText': { textDecoration: 'none', fontWeight: '600' },
  '.cm-completionDetail': { color: 'var(--text-faint)', fontStyle: 'normal', fontFamily: 'var(--font)' },
  '.cm-diagnostic-error': { borderLeft: '0', padding: '6px 10px', fontFamily: 'var(--font)' },
  '.cm-lintRange-error': {
    backgroundImage: 'none',
    textDecoration: 'underline wavy var(--danger)',
    textUnderlineOffset: '4px',
  },
  '.cel-string': { color: 'var(--success)' },
  '.cel-number, .cel-constant': { color: 'var(--warning)' },
  '.cel-call': { color: 'var(--accent)' },
  '.cel-operator': { color: 'var(--text-soft)' },
  '.cel-comment': { color: 'var(--text-faint)' },
});
