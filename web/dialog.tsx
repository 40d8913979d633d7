/**
 * A modal dialog: the browser's own, which keeps the focus within, makes everything else inert and gives the focus back.
 *
 * It never closes by itself: Escape and the button ask, and whoever shows it decides.
 */
import type { ComponentChildren } from 'preact';
import { useId, useLayoutEffect, useRef } from 'preact/hooks';

export interface DialogProps {
  readonly title: ComponentChildren;
  /** Wide ones are for tables. */
  readonly size?: 'narrow' | 'wide';
  /** Somebody wants it closed. */
  onClose(): void;
  /** Below what scrolls. */
  readonly footer?: ComponentChildren;
  /** Around body and footer. Enter sends from a field of one line, Ctrl+Enter or ⌘+Enter from every field. */
  onSubmit?(): void;
  readonly children: ComponentChildren;
}

export function Dialog({ title, size = 'narrow', onClose, footer, onSubmit, children }: DialogProps) {
  const titleId = useId();
  const ref = useRef<HTMLDialogElement>(null);

  useLayoutEffect(() => {
    const dialog = ref.current;
    if (dialog === null) return;
    dialog.showModal();
    // Else not the first of what can be operated: that is the button that closes.
    (dialog.querySelector<HTMLElement>('[data-focus]') ?? dialog.querySelector('h2'))?.focus();
    // Before it leaves the document: a dialog that is removed open does not give the focus back.
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
      // Not left to the cancel event: browsers let a second Escape close a dialog whatever the page says to the first.
      onKeyDown={(event) => {
        // Somebody who composes a letter means that letter.
        if (event.defaultPrevented || event.isComposing) return;
        if (event.key === 'Escape') {
          event.preventDefault();
          onClose();
        } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && isField(event.target)) {
          event.preventDefault();
          event.target.form?.requestSubmit();
        }
      }}
      // A phone's way back.
      onCancel={(event) => {
        // A file's chooser within says so too when it is closed.
        if (event.target !== event.currentTarget) return;
        event.preventDefault();
        onClose();
      }}
    >
      <header>
        <h2 id={titleId} tabIndex={-1} dir="auto">
          {title}
        </h2>
        <button type="button" class="button quiet icon" aria-label="Close" onClick={onClose}>
          <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
            <path
              d="M3.5 3.5l9 9m0-9l-9 9"
              fill="none"
              stroke="currentColor"
              stroke-width="1.6"
              stroke-linecap="round"
            />
          </svg>
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

/** On a button, Enter presses that button. */
function isField(target: EventTarget | null): target is HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement {
  return (
    target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement
  );
}
