/** Copies a text to the clipboard, and says so in a toast. */
import { CopyIcon } from './icons.js';
import { showToast } from './toasts.js';

/** Browsers have no clipboard on pages without TLS. */
export function canCopy(): boolean {
  return navigator.clipboard !== undefined;
}

/** `what` completes the sentence "Copy …", such as "the email". */
export function copy(text: string, what: string): void {
  navigator.clipboard.writeText(text).then(
    () => showToast({ text: `Copied ${what}.` }),
    () => showToast({ text: `Cannot copy ${what}, because the browser does not allow it.`, tone: 'danger' }),
  );
}

export function CopyButton({ text, what }: { text: string; what: string }) {
  if (!canCopy()) return null;
  return (
    <button
      type="button"
      class="button quiet icon copy"
      aria-label={`Copy ${what}`}
      title="Copy"
      onClick={() => copy(text, what)}
    >
      <CopyIcon />
    </button>
  );
}
