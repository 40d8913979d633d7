/**
 * Keeps the focus in its place if the element that has it disappears, for example a button that is not needed after it was
 * pressed. Browsers would move the focus to the start of the page.
 */

const focusable = 'button, select, summary, textarea, input, a[href], [contenteditable], [tabindex="0"]';
/** On a phone, the focus in one of these opens the keyboard. */
const typed = 'textarea, input:not([type=checkbox], [type=radio]), [contenteditable]';
/** The focus does not leave these parts of the page. */
const parts = 'dialog, [popover], aside, main, header';

interface Removal {
  /** The element that had the focus, or one around it. */
  readonly removed: Node;
  readonly from: Node;
  /** The node after it; null if it was the last one. */
  readonly next: Node | null;
}

export function keepFocus(root: HTMLElement): void {
  let last: Element | null = null;
  let isPointer = false;
  let removals: Removal[] = [];

  const check = () => {
    const found = removals.findLast(({ from }) => from.isConnected);
    removals = [];
    // A part of the page that knows better has moved the focus.
    if (found === undefined || document.activeElement !== document.body) return;
    neighbourOf(found, isPointer)?.focus({ preventScroll: true });
  };
  new MutationObserver((records) => {
    for (const { target: from, removedNodes, nextSibling: next } of records) {
      for (const removed of removedNodes) {
        const around = removals.at(-1)?.from ?? last;
        if (around === null || around.isConnected || !removed.contains(around)) continue;
        if (removals.length === 0) setTimeout(check);
        removals.push({ removed, from, next });
      }
    }
  }).observe(root, { childList: true, subtree: true });
  root.addEventListener('focusin', ({ target }) => {
    last = target instanceof Element ? target : null;
  });
  root.addEventListener(
    'pointerdown',
    ({ target }) => {
      isPointer = true;
      // Not all browsers give the focus to a button that is clicked. A click elsewhere takes the focus away.
      last = target instanceof Element ? target.closest(focusable) : null;
    },
    { capture: true },
  );
  root.addEventListener(
    'keydown',
    () => {
      isPointer = false;
    },
    { capture: true },
  );
}

/** The next element that can have the focus, or else the previous one. */
function neighbourOf({ from, next }: Removal, isPointer: boolean): HTMLElement | undefined {
  let around = from instanceof Element ? from : from.parentElement;
  let after = next;
  while (around !== null && around !== document.body) {
    const candidates = [...around.querySelectorAll<HTMLElement>(focusable)].filter(
      (element) => canFocus(element) && !(isPointer && element.matches(typed)),
    );
    const found = candidates.find((element) => after !== null && isAtOrAfter(element, after)) ?? candidates.at(-1);
    if (found !== undefined || around.matches(parts)) return found;
    after = around;
    around = around.parentElement;
  }
  return undefined;
}

function canFocus(element: HTMLElement): boolean {
  return element.tabIndex >= 0 && !element.matches(':disabled') && element.checkVisibility();
}

function isAtOrAfter(element: Node, start: Node): boolean {
  return start.contains(element) || (start.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING) !== 0;
}
