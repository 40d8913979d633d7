/** A button that opens a small panel above everything else, also above the grid, which would cut it off. */
import type { ComponentChildren } from 'preact';
import { useId, useRef, useState } from 'preact/hooks';

export interface PopupProps {
  readonly label: string;
  readonly buttonClass: string;
  /** The content of the button. */
  readonly face: ComponentChildren;
  readonly role: 'menu' | 'dialog';
  readonly tabIndex?: number;
  readonly widthPx?: number;
  /** Receives a function that closes the panel and moves the focus back to the button. */
  readonly children: (close: () => void) => ComponentChildren;
}

const edgePx = 8;

export function Popup({ label, buttonClass, face, role, tabIndex, widthPx = 224, children }: PopupProps) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  const [isOpen, setOpen] = useState(false);
  const close = () => {
    panel.current?.hidePopover();
    button.current?.focus();
  };
  const onBeforeToggle = (event: Pick<ToggleEvent, 'newState'>) => {
    setOpen(event.newState === 'open');
    const { style } = panel.current ?? {};
    if (button.current === null || style === undefined) return;
    const { left, bottom } = button.current.getBoundingClientRect();
    style.left = `${Math.max(edgePx, Math.min(left, innerWidth - widthPx - edgePx))}px`;
    style.top = `${bottom + 4}px`;
    style.maxHeight = `calc(100dvh - ${bottom + 4 + edgePx}px)`;
  };
  const onToggle = (event: Pick<ToggleEvent, 'newState'>) => {
    if (event.newState === 'open') controlsOf(panel.current)[0]?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // The grid has its own keys.
    event.stopPropagation();
    const controls = controlsOf(panel.current);
    const at = controls.findIndex((control) => control.matches(':focus'));
    if (event.key === 'ArrowDown') controls[(at + 1) % controls.length]?.focus();
    else if (event.key === 'ArrowUp') controls.at(at - 1)?.focus();
    else if (event.key === 'Home') controls[0]?.focus();
    else if (event.key === 'End') controls.at(-1)?.focus();
    else if (event.key === 'Tab' && role === 'menu') return close();
    else return;
    event.preventDefault();
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
        popovertarget={id}
      >
        {face}
      </button>
      <div
        id={id}
        ref={panel}
        popover="auto"
        class="popup"
        style={{ width: `${widthPx}px` }}
        {...{ role, 'aria-label': label, onBeforeToggle, onToggle, onKeyDown, onPointerDown: stop }}
      >
        {isOpen && children(close)}
      </div>
    </>
  );
}

/** The element around the popup may be draggable. */
function stop(event: PointerEvent): void {
  event.stopPropagation();
}

function controlsOf(panel: HTMLElement | null): HTMLElement[] {
  return [...(panel?.querySelectorAll<HTMLElement>('button:not(:disabled), input, [role=menuitem]') ?? [])];
}
