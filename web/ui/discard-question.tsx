/** The question whether to discard what the user has typed, or has not finished. */
import type { RefObject } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';

export interface DiscardQuestionProps {
  readonly text: string;
  readonly keepText?: string;
  readonly discardText?: string;
  onKeep(): void;
  onDiscard(): void;
}

/** Replaces the buttons that would leave. */
export function DiscardQuestion({
  text,
  keepText = 'Keep editing',
  discardText = 'Discard',
  onKeep,
  onDiscard,
}: DiscardQuestionProps) {
  const ref = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => ref.current?.focus(), []);
  return (
    <>
      <p class="grow" role="alert">
        {text}
      </p>
      <button ref={ref} type="button" class="button" onClick={onKeep}>
        {keepText}
      </button>
      <button type="button" class="button danger" onClick={onDiscard}>
        {discardText}
      </button>
    </>
  );
}

/** Whether the question is shown, and what it does. `bodyRef` contains what the user edits. */
export function useDiscardQuestion(bodyRef: RefObject<HTMLElement | null>) {
  const [then, setThen] = useState<{ readonly leave: () => void }>();
  // The element to focus again if the user keeps editing. The question replaces the button that asked.
  const editedRef = useRef<HTMLElement | null>(null);
  useLayoutEffect(() => {
    const onFocusIn = ({ target }: FocusEvent) => {
      if (target instanceof HTMLElement && bodyRef.current?.contains(target)) editedRef.current = target;
    };
    document.addEventListener('focusin', onFocusIn);
    return () => document.removeEventListener('focusin', onFocusIn);
  }, []);
  const cancel = () => setThen(undefined);
  return {
    isAsked: then !== undefined,
    /** If the user agrees, `leave` discards the edits. */
    ask: (leave: () => void) => setThen({ leave }),
    cancel,
    keep() {
      cancel();
      const { current: edited } = editedRef;
      (edited?.isConnected ? edited : bodyRef.current?.querySelector<HTMLElement>('[data-first]'))?.focus();
    },
    confirm() {
      cancel();
      then?.leave();
    },
  };
}
