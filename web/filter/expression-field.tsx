/** The filter as an expression in CEL, in an editor that is loaded with this file's first use. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { formatCount } from '../text/format.js';
import { hasRelativeDays, sentFilter } from '../text/relative-days.js';
import { CopyButton } from '../ui/copy-button.js';
import type { CelEditor } from './cel-editor.js';
import type { Mistake } from './filter-mistake.js';
import type { UserSample } from './user-sample.js';

export interface ExpressionFieldProps {
  readonly filter: string;
  readonly mistake: Mistake | undefined;
  readonly canBeChips: boolean;
  /** Whether somebody asked for it, and not only the address of the page. */
  readonly takesFocus: boolean;
  readSample(): Promise<UserSample>;
  onFilter(filter: string): void;
  onChips(): void;
}

/** Longer than for the search, because an incomplete filter is usually invalid. */
const filterAfterMs = 800;

export function ExpressionField(props: ExpressionFieldProps) {
  const { filter, mistake, canBeChips, takesFocus, readSample, onFilter, onChips } = props;
  const host = useRef<HTMLDivElement>(null);
  const editor = useRef<CelEditor>(undefined);
  const [draft, setDraft] = useState(filter);
  const [isFailed, setFailed] = useState(false);
  const [lengthMax, setLengthMax] = useState<number>();
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const sent = useRef(filter);
  const send = (text: string) => {
    clearTimeout(timer.current);
    setDraft(text);
    setLengthMax(undefined);
    if (text === sent.current) return;
    sent.current = text;
    onFilter(text);
  };
  const write = (text: string) => {
    setDraft(text);
    setLengthMax(undefined);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => latest.current.send(text), filterAfterMs);
  };
  // The error is about the filter that was sent, not about a newer text.
  const shown = draft === filter ? mistake : undefined;
  const latest = useRef({ send, write, onChips, readSample, shown });
  latest.current = { send, write, onChips, readSample, shown };

  useEffect(() => {
    let isUnmounted = false;
    void import('./cel-editor.js').then(
      ({ charactersMax, createCelEditor }) => {
        if (isUnmounted || host.current === null) return;
        editor.current = createCelEditor(host.current, {
          text: sent.current,
          onText: (text) => latest.current.write(text),
          onTooLong: () => setLengthMax(charactersMax),
          onEnter: (text) => latest.current.send(text),
          onEscape: () => latest.current.onChips(),
          readSample: () => latest.current.readSample(),
        });
        editor.current.setMistake(latest.current.shown);
        if (takesFocus) editor.current.focus();
      },
      () => setFailed(true),
    );
    return () => {
      isUnmounted = true;
      clearTimeout(timer.current);
      editor.current?.close();
    };
  }, []);
  useLayoutEffect(() => {
    if (filter === sent.current) return;
    clearTimeout(timer.current);
    sent.current = filter;
    setDraft(filter);
    editor.current?.setText(filter);
  }, [filter]);
  useEffect(() => editor.current?.setMistake(shown), [shown?.text, shown?.at]);

  return (
    <div class="expression">
      <div class="expression-line">
        <div class={`expression-box${shown === undefined ? '' : ' invalid'}`} ref={host} />
        {draft !== '' && (
          <button
            type="button"
            class="button quiet small"
            onClick={() => {
              editor.current?.setText('');
              send('');
              editor.current?.focus();
            }}
          >
            Clear
          </button>
        )}
        <button type="button" class="button quiet small" disabled={!canBeChips} onClick={onChips}>
          Back to conditions
        </button>
      </div>
      {isFailed && <p class="error">The editor could not be loaded. Reload the page.</p>}
      {lengthMax !== undefined && (
        <p class="error" role="alert">
          An expression has at most {formatCount(lengthMax)} characters. The text was not added.
        </p>
      )}
      {mistake === undefined && (
        <p class="hint">
          {canBeChips
            ? 'Enter applies the expression. Ctrl+Space lists fields and functions.'
            : 'This filter cannot be shown as separate conditions.'}
        </p>
      )}
      {hasRelativeDays(draft) && <SentFilter filter={draft} />}
    </div>
  );
}

/** Other clients do not know the page's own days. */
function SentFilter({ filter }: { filter: string }) {
  const sent = sentFilter(filter);
  return (
    <details class="hint sent-filter">
      <summary>
        Only this page knows <code>today</code> and <code>this_year</code>. Show the filter for other clients
      </summary>
      <p class="line">
        <code>{sent}</code>
        <CopyButton text={sent} what="the filter with fixed days" />
      </p>
    </details>
  );
}
