/** A button that copies a text to the clipboard, and says so in a toast. */
import { CopyIcon } from './icons.js';
import { showToast } from './toasts.js';

/** `what` completes the sentence "Copy …", such as "the email". */
export function CopyButton({ text, what }: { text: string; what: string }) {
  // Browsers have no clipboard on pages without TLS.
  if (navigator.clipboard === undefined) return null;
  const copy = () => {
    navigator.clipboard.writeText(text).then(
      () => showToast({ text: `Copied ${what}.` }),
      () => showToast({ text: `Cannot copy ${what}, because the browser does not allow it.`, tone: 'danger' }),
    );
  };
  return (
    <button type="button" class="button quiet icon copy" aria-label={`Copy ${what}`} title="Copy" onClick={copy}>
      <CopyIcon />
    </button>
  );
}
