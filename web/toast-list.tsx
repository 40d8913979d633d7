/** Shows the toasts in a corner of the page, and announces them to screen readers. */
import { useEffect, useLayoutEffect, useReducer, useRef, useState } from 'preact/hooks';
import { useListCover } from './ui/cover.js';
import { CloseIcon } from './ui/icons.js';
import { lazyDialog } from './ui/lazy.js';
import {
  closeAllToasts,
  closeToast,
  onToastsChange,
  type ShownToast,
  shownToasts,
  toastMs,
  undoableToast,
  undoToast,
} from './ui/toasts.js';

const FailuresDialog = lazyDialog('Failed users', async () => (await import('./bulk/bulk-report.js')).FailuresDialog);

export function ToastList() {
  const [, redraw] = useReducer<number, void>((before) => before + 1, 0);
  const [isPointed, setPointed] = useState(false);
  const [isFocused, setFocused] = useState(false);
  const [openId, setOpenId] = useState<number>();
  // The element to focus again if the toast with the focus disappears.
  const beforeRef = useRef<EventTarget | null>(null);
  const sectionRef = useRef<HTMLElement>(null);
  useListCover('toasts', sectionRef);
  useLayoutEffect(() => onToastsChange(() => redraw()), []);
  useEffect(() => closeAllToasts, []);
  useEffect(() => {
    let typedAt = 0;
    const onInput = ({ timeStamp }: Event) => {
      typedAt = timeStamp;
    };
    const onKeyDown = (event: KeyboardEvent) => onUndoKey(event, typedAt);
    document.addEventListener('input', onInput);
    document.addEventListener('keydown', onKeyDown);
    return () => {
      document.removeEventListener('input', onInput);
      document.removeEventListener('keydown', onKeyDown);
    };
  }, []);

  const toasts = shownToasts();
  const isEmpty = toasts.length === 0;
  // A removed element sends no event about the pointer or the focus that was on it.
  useLayoutEffect(() => {
    if (!isEmpty) return;
    setPointed(false);
    setFocused(false);
  }, [isEmpty]);
  const failures = toasts.find(({ id }) => id === openId)?.failures;
  const leave = () => {
    if (beforeRef.current instanceof HTMLElement) beforeRef.current.focus();
  };
  return (
    <>
      <section
        ref={sectionRef}
        class="toasts"
        aria-label="Notifications"
        aria-live="polite"
        onPointerEnter={() => setPointed(true)}
        onPointerLeave={() => setPointed(false)}
        onFocusIn={({ currentTarget, relatedTarget }) => {
          if (!(relatedTarget instanceof Node && currentTarget.contains(relatedTarget)))
            beforeRef.current = relatedTarget;
          setFocused(true);
        }}
        onFocusOut={({ currentTarget, relatedTarget }) => {
          setFocused(relatedTarget instanceof Node && currentTarget.contains(relatedTarget));
        }}
        onKeyDown={(event) => {
          if (event.key !== 'Escape') return;
          event.stopPropagation();
          leave();
          closeAllToasts();
        }}
      >
        {toasts.map((toast) => (
          <ToastItem
            key={toast.id}
            toast={toast}
            isPaused={isPointed || isFocused}
            onLeave={leave}
            onFailures={setOpenId}
          />
        ))}
      </section>
      {failures !== undefined && <FailuresDialog failures={failures} onClose={() => setOpenId(undefined)} />}
    </>
  );
}

const editable = 'input:not([type=checkbox], [type=radio]), textarea, [contenteditable]';

/**
 * Ctrl+Z and ⌘Z undo as the button of the newest toast does. In a text field, they undo the typing, except in a search in which
 * nobody has typed since the toast.
 */
function onUndoKey(event: KeyboardEvent, typedAt: number): void {
  if (event.key.toLowerCase() !== 'z' || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
  if (event.defaultPrevented || document.querySelector('dialog[open]') !== null) return;
  const toast = undoableToast();
  const { target } = event;
  if (toast === undefined || !(target instanceof HTMLElement)) return;
  const isRestedSearch = target.matches('input[type=search]') && typedAt < toast.shownAt;
  if (target.closest(editable) !== null && !isRestedSearch) return;
  // Otherwise the browser also undoes the last typing in any field of the page.
  event.preventDefault();
  undoToast(toast.id);
}

const tickMs = 250;

interface ToastItemProps {
  readonly toast: ShownToast;
  readonly isPaused: boolean;
  /** Moves the focus out of the toasts. */
  onLeave(): void;
  /** Shows the users for whom the action of the toast failed. */
  onFailures(id: number): void;
}

function ToastItem({ toast, isPaused, onLeave, onFailures }: ToastItemProps) {
  const { id, text, undo, offer, failures, tone = 'neutral', isUndoing } = toast;
  const leftMs = useRef(toastMs);
  const isTimed = tone !== 'danger' && !isPaused && !isUndoing;
  useEffect(() => {
    if (!isTimed) return;
    const timer = setInterval(() => {
      // A modal dialog covers the toasts, and nobody can undo anything there.
      if (document.querySelector('dialog[open]') === null) leftMs.current -= tickMs;
      if (leftMs.current <= 0) closeToast(id);
    }, tickMs);
    return () => clearInterval(timer);
  }, [id, isTimed]);
  const withFocus = (act: () => void) => () => {
    onLeave();
    act();
  };
  return (
    <div class="toast" data-tone={tone}>
      <p dir="auto">{text}</p>
      {undo === undefined ? null : (
        <button type="button" class="button small" aria-disabled={isUndoing} onClick={withFocus(() => undoToast(id))}>
          {isUndoing ? 'Undoing…' : 'Undo'}
        </button>
      )}
      {offer === undefined ? null : (
        <button
          type="button"
          class="button small"
          onClick={withFocus(() => {
            closeToast(id);
            offer.run();
          })}
        >
          {offer.label}
        </button>
      )}
      {failures === undefined ? null : (
        <button type="button" class="button small" onClick={() => onFailures(id)}>
          Show which
        </button>
      )}
      <button
        type="button"
        class="button quiet icon"
        aria-label="Close the notification"
        onClick={withFocus(() => closeToast(id))}
      >
        <CloseIcon />
      </button>
    </div>
  );
}
