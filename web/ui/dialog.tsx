/**
 * A modal dialog. The browser's own <dialog> keeps the focus inside, makes everything else inert and restores the
 * focus.
 *
 * It never closes by itself: Escape and the button call functions of the parent, which decides.
 */
import type { ComponentChildren } from 'preact';
import { useId, useLayoutEffect, useRef } from 'preact/hooks';
import { CloseIcon } from './icons.js';

type Listener = () => void;

const shownListeners = new Set<Listener>();

/** Calls the listener whenever another dialog covers the ones before it. */
export function onDialogShown(listener: Listener): () => void {
  shownListeners.add(listener);
  return () => shownListeners.delete(listener);
}

export interface DialogProps {
  readonly title: ComponentChildren;
  /** `wide` is for tables, and `full` for a table that needs all the space there is. */
  readonly size?: 'narrow' | 'wide' | 'full';
  /** Called if the user wants to close the dialog. */
  onClose(): void;
  /** Called instead of `onClose` for Escape. */
  onEscape?(): void;
  /** Shown below the part that scrolls. */
  readonly footer?: ComponentChildren;
  /** If set, body and footer are a form. Enter submits a field of one line, Ctrl+Enter or ⌘+Enter any field. */
  onSubmit?(): void;
  readonly children: ComponentChildren;
}

export function Dialog({
  title,
  size = 'narrow',
  onClose,
  onEscape = onClose,
  footer,
  onSubmit,
  children,
}: DialogProps) {
  const titleId = useId();
  const ref = useRef<HTMLDialogElement>(null);
  const wasPressed = useRef(false);

  useLayoutEffect(() => {
    const dialog = ref.current;
    if (dialog === null) return;
    dialog.showModal();
    // Otherwise the browser may focus the button that closes the dialog.
    (dialog.querySelector<HTMLElement>('[data-focus]') ?? dialog.querySelector('h2'))?.focus();
    for (const listener of shownListeners) listener();
    // An open dialog that is removed from the document does not restore the focus.
    return () => dialog.close();
  }, []);

  const content = (
    <>
      <div class="body">{children}</div>
      {footer === undefined ? null : <footer>{footer}</footer>}
    </>
  );
  return (
    <dialog
      ref={ref}
      class={`dialog ${size}`}
      aria-labelledby={titleId}
      // The second press of a double click on the button that opened the dialog would select a word and take the focus.
      onMouseDown={(event) => {
        if (event.detail > 1 && !wasPressed.current) event.preventDefault();
        wasPressed.current = true;
      }}
      // The cancel event is not enough: in browsers a second Escape closes the dialog even if the page prevents the
      // first.
      onKeyDown={(event) => {
        // An input method handles this key.
        if (event.defaultPrevented || event.isComposing) return;
        if (event.key === 'Escape') {
          event.preventDefault();
          onEscape();
        } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && isField(event.target)) {
          event.preventDefault();
          event.target.form?.requestSubmit();
        }
      }}
      // Phones send this event for the back gesture.
      onCancel={(event) => {
        // A file chooser inside the dialog sends this event too when it is closed.
        if (event.target !== event.currentTarget) return;
        event.preventDefault();
        onEscape();
      }}
    >
      <header>
        <h2 id={titleId} tabIndex={-1} dir="auto">
          {title}
        </h2>
        <button type="button" class="button quiet icon" aria-label="Close" onClick={onClose}>
          <CloseIcon />
        </button>
      </header>
      {onSubmit === undefined ? (
        content
      ) : (
        <form
          class="form"
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            onSubmit();
          }}
        >
          {content}
        </form>
      )}
    </dialog>
  );
}

/** Whether Ctrl+Enter in this element submits the form. In a button, Enter clicks the button. */
export function isField(
  target: EventTarget | null,
): target is HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement {
  return (
    target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement
  );
}
