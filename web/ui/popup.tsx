/**
 * A small panel below the button that opens it, above everything else, also above the grid, which would cut it off.
 *
 * It takes the focus, and gives it back to the button. It closes on Escape, on a click elsewhere, and if the focus leaves
 * it.
 */
import type { ComponentChildren, TargetedKeyboardEvent } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';

export interface PopupProps {
  readonly label: string;
  readonly role: 'menu' | 'dialog';
  /** The button. */
  readonly anchor: HTMLButtonElement | null;
  readonly widthPx?: number | undefined;
  readonly children: ComponentChildren;
  /** Called if the panel wants to close. It is open while it is in the document. */
  onClose(): void;
}

const edgePx = 8;
const gapPx = 4;

export function Popup({ label, role, anchor, widthPx = 224, children, onClose }: PopupProps) {
  const panel = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    panel.current?.showPopover();
    (panel.current?.querySelector<HTMLElement>('[data-focus]') ?? controlsOf(panel.current)[0])?.focus();
    return () => {
      if (panel.current?.contains(document.activeElement) === true) anchor?.focus();
    };
  }, []);
  usePlace(panel, anchor);
  const close = () => {
    anchor?.focus();
    onClose();
  };
  // The browser closes it after a click elsewhere, and before a dialog opens.
  const onBeforeToggle = ({ newState }: Pick<ToggleEvent, 'newState'>) => {
    if (newState === 'closed') onClose();
  };
  const onFocusOut = ({ relatedTarget: to }: FocusEvent) => {
    if (to instanceof Node && panel.current?.contains(to) === false && to !== anchor) onClose();
  };
  const onKeyDown = (event: TargetedKeyboardEvent<HTMLElement>) => onKey(event, close);
  return (
    <div
      ref={panel}
      popover="auto"
      class="popup"
      style={{ width: `${widthPx}px` }}
      {...{ role, 'aria-label': label, onBeforeToggle, onFocusOut, onKeyDown, onPointerDown: stop }}
    >
      {children}
    </div>
  );
}

/** The element around the panel may be draggable. */
function stop(event: PointerEvent): void {
  event.stopPropagation();
}

export interface PopupButtonProps extends Pick<PopupProps, 'label' | 'role' | 'widthPx'> {
  readonly buttonClass: string;
  /** The content of the button. */
  readonly face: ComponentChildren;
  readonly tabIndex?: number;
  /** Receives a function that closes the panel and moves the focus back to the button. */
  readonly children: (close: () => void) => ComponentChildren;
}

/** A button with its panel. */
export function PopupButton({ label, role, buttonClass, face, tabIndex, widthPx, children }: PopupButtonProps) {
  const button = useRef<HTMLButtonElement>(null);
  const [isOpen, setOpen] = useState(false);
  const close = () => {
    button.current?.focus();
    setOpen(false);
  };
  return (
    <>
      <button
        ref={button}
        type="button"
        class={buttonClass}
        aria-label={label}
        title={label}
        aria-haspopup={role}
        aria-expanded={isOpen}
        tabIndex={tabIndex}
        onClick={() => setOpen(!isOpen)}
      >
        {face}
      </button>
      {isOpen && (
        <Popup label={label} role={role} anchor={button.current} widthPx={widthPx} onClose={() => setOpen(false)}>
          {children(close)}
        </Popup>
      )}
    </>
  );
}

/** Keeps the panel below the button. */
function usePlace(panel: { readonly current: HTMLElement | null }, anchor: PopupProps['anchor']): void {
  useLayoutEffect(() => {
    if (anchor === null) return;
    const place = () => {
      if (panel.current === null) return;
      const { style, offsetWidth } = panel.current;
      const { left, bottom } = anchor.getBoundingClientRect();
      style.left = `${Math.max(edgePx, Math.min(left, document.documentElement.clientWidth - offsetWidth - edgePx))}px`;
      style.top = `${bottom + gapPx}px`;
      style.maxHeight = `calc(100dvh - ${bottom + gapPx + edgePx}px)`;
    };
    place();
    window.addEventListener('resize', place);
    // Otherwise the browser would close the panel before the button's click, which would open it again.
    anchor.popoverTargetElement = panel.current;
    anchor.popoverTargetAction = 'show';
    return () => {
      window.removeEventListener('resize', place);
      anchor.popoverTargetElement = null;
    };
  }, [anchor]);
}

function onKey(event: TargetedKeyboardEvent<HTMLElement>, close: () => void): void {
  const { key, currentTarget: panel, target } = event;
  // Keys such as Ctrl+K are those of the page. The palette later gives the focus back, and then this panel is closed.
  if ((event.ctrlKey || event.metaKey) && key.length === 1) {
    if (key.toLowerCase() === 'k') close();
    return;
  }
  // The list has its own keys.
  event.stopPropagation();
  if (event.defaultPrevented || event.isComposing) return;
  const isText = target instanceof Element && target.matches(textFields);
  const controls = controlsOf(panel);
  const at = controls.findIndex((control) => control.matches(':focus'));
  const usesArrows = target instanceof Element && target.matches(arrowFields);
  if (key === 'Tab' && panel.role === 'menu') {
    // The browser then moves the focus from the button to the element after it.
    close();
    return;
  }
  if (key === 'Escape') close();
  else if (usesArrows) return;
  else if (key === 'ArrowDown') controls[(at + 1) % controls.length]?.focus();
  else if (key === 'ArrowUp') controls.at(at - 1)?.focus();
  else if (key === 'Home' && !isText) controls[0]?.focus();
  else if (key === 'End' && !isText) controls.at(-1)?.focus();
  else return;
  event.preventDefault();
}

const textFields = 'input:not([type=checkbox], [type=radio])';
/** Fields in which the arrow keys change the value. */
const arrowFields = 'select, [type=date]';

function controlsOf(panel: HTMLElement | null): HTMLElement[] {
  return [...(panel?.querySelectorAll<HTMLElement>(':is(button, input, select):not(:disabled)') ?? [])];
}
