/**
 * A small window next to the button that opened it. Takes the focus, and returns it to the button. Closes on Escape, on a
 * click elsewhere, and if the focus leaves it.
 */
import type { ComponentChildren } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

export interface PopoverProps {
  readonly label: string;
  /** The button. The nearest positioned ancestor of both must be the same. */
  readonly anchor: HTMLElement | null;
  readonly children: ComponentChildren;
  /** `keepsFocus` if the focus is already elsewhere. */
  onClose(how: { readonly keepsFocus: boolean }): void;
}

const gapPx = 6;
const edgePx = 16;

export function Popover({ label, anchor, children, onClose }: PopoverProps) {
  const box = useRef<HTMLDivElement>(null);
  const [place, setPlace] = useState({ left: 0, top: 0 });
  const close = useRef(onClose);
  close.current = onClose;

  useLayoutEffect(() => {
    const element = box.current;
    const frame = element?.offsetParent?.getBoundingClientRect();
    const button = anchor?.getBoundingClientRect();
    if (element === null || frame === undefined || button === undefined) return;
    const leftMax = document.documentElement.clientWidth - element.offsetWidth - edgePx;
    setPlace({
      left: Math.max(edgePx, Math.min(button.left, leftMax)) - frame.left,
      top: button.bottom - frame.top + gapPx,
    });
  }, [anchor]);

  useEffect(() => {
    box.current?.querySelector<HTMLElement>('input:not([type=checkbox])')?.focus();
  }, []);

  useEffect(() => {
    const onDown = (event: PointerEvent) => {
      const isInside = event.target instanceof Node && box.current?.contains(event.target);
      // A click on the button closes the popover by itself.
      const isButton = event.target instanceof Node && anchor?.contains(event.target);
      if (!isInside && !isButton) close.current({ keepsFocus: true });
    };
    document.addEventListener('pointerdown', onDown);
    return () => document.removeEventListener('pointerdown', onDown);
  }, [anchor]);

  return (
    <div
      ref={box}
      class="popover"
      role="dialog"
      aria-label={label}
      style={{ left: `${place.left}px`, top: `${place.top}px` }}
      onKeyDown={(event) => {
        // The keys of the list must not act while somebody uses the popover.
        if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
        if (event.key !== 'Escape') return;
        event.preventDefault();
        onClose({ keepsFocus: false });
      }}
      onFocusOut={(event) => {
        const to = event.relatedTarget;
        if (to instanceof Node && !box.current?.contains(to) && to !== anchor) onClose({ keepsFocus: true });
      }}
    >
      {children}
    </div>
  );
}
