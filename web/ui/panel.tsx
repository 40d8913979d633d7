/**
 * A panel beside the list, or over the whole page on a phone. The rest of the page stays usable, so it is a landmark and
 * not a dialog.
 *
 * It never closes by itself: Escape and the button call `onClose` and `onEscape`, and the parent decides.
 */
import type { ComponentChildren, RefObject } from 'preact';
import { useEffect, useId, useLayoutEffect, useRef } from 'preact/hooks';
import { isField } from './dialog.js';
import { CloseIcon } from './icons.js';
import { isCovered } from './panel-keys.js';

export interface PanelProps {
  readonly title: ComponentChildren;
  /** The user whose row in the list gets the focus after the panel has closed. */
  readonly userId?: string | undefined;
  /** Shown before the title. */
  readonly sign?: ComponentChildren;
  /** Buttons in the line above the title. */
  readonly tools?: ComponentChildren;
  onClose(): void;
  /** The default is `onClose`. */
  onEscape?: (() => void) | undefined;
  /** Shown below the part that scrolls. */
  readonly footer?: ComponentChildren;
  /** If set, body and footer are a form. Enter submits a field of one line, Ctrl+Enter or ⌘+Enter any field. */
  onSubmit?: (() => void) | undefined;
  readonly children: ComponentChildren;
}

export function Panel(props: PanelProps) {
  const { title, userId, sign, tools, onClose, onEscape = onClose, footer, onSubmit, children } = props;
  const titleId = useId();
  const ref = useRef<HTMLElement>(null);
  usePanelFocus(ref, userId);
  useEscape(ref, onEscape);
  return (
    <aside
      ref={ref}
      class="panel"
      aria-labelledby={titleId}
      onKeyDown={(event) => {
        if (event.defaultPrevented || event.isComposing || event.key !== 'Enter') return;
        if (!(event.ctrlKey || event.metaKey) || !isField(event.target)) return;
        event.preventDefault();
        event.target.form?.requestSubmit();
      }}
    >
      <div class="panel-tools">
        {tools}
        <button type="button" class="button quiet icon" aria-label="Close" title="Close (Escape)" onClick={onClose}>
          <CloseIcon />
        </button>
      </div>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          onSubmit?.();
        }}
      >
        <div class="body">
          <div class="panel-title">
            {sign}
            <h2 id={titleId} tabIndex={-1} dir="auto" {...(typeof title === 'string' && { class: 'clamped', title })}>
              {title}
            </h2>
          </div>
          {children}
        </div>
        {footer === undefined ? null : <footer>{footer}</footer>}
      </form>
    </aside>
  );
}

/** Where the focus was before the first of the panels that replaced one another. */
let openedFrom: Element | null = null;

/** Moves the focus into a new panel. If the last one closes with the focus in it, the list gets the focus back. */
function usePanelFocus(ref: RefObject<HTMLElement | null>, userId: string | undefined): void {
  const rowId = useRef(userId);
  rowId.current = userId;
  useLayoutEffect(() => {
    const panel = ref.current;
    if (document.activeElement !== document.body) openedFrom = document.activeElement;
    (panel?.querySelector<HTMLElement>('[data-focus]') ?? panel?.querySelector('h2'))?.focus();
    return () => {
      if (panel?.contains(document.activeElement) !== true) return;
      // The panel is still in the document, and another one may replace it and take the focus.
      queueMicrotask(() => {
        if (document.activeElement === document.body) focusList(rowId.current);
      });
    };
  }, []);
}

function focusList(userId: string | undefined): void {
  const row = userId === undefined ? null : document.querySelector(`[role=row][data-id="${CSS.escape(userId)}"]`);
  const active = document.querySelector('[role=row][data-row][tabindex="0"]');
  const target = row ?? (openedFrom?.isConnected === true ? openedFrom : active);
  if (target instanceof HTMLElement) target.focus({ preventScroll: true });
}

/** Escape in the panel or in the list. Fields outside the panel, menus and dialogs handle the key themselves. */
function useEscape(ref: RefObject<HTMLElement | null>, onEscape: () => void): void {
  const handler = useRef(onEscape);
  handler.current = onEscape;
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key !== 'Escape' || event.defaultPrevented || event.isComposing) return;
      const { target } = event;
      if (!(target instanceof Element) || isCovered()) return;
      const isInPanel = ref.current?.contains(target) === true;
      if (!isInPanel && target !== document.body && target.closest('[role=grid]') === null) return;
      event.preventDefault();
      handler.current();
    };
    document.addEventListener('keydown', onKeyDown);
    return () => document.removeEventListener('keydown', onKeyDown);
  }, []);
}
