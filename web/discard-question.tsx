/** The question whether to discard what the user has typed. */
import { useLayoutEffect, useRef, useState } from 'preact/hooks';

export interface DiscardQuestionProps {
  readonly text: string;
  onKeep(): void;
  onDiscard(): void;
}

/** Replaces the buttons that would leave. */
export function DiscardQuestion({ text, onKeep, onDiscard }: DiscardQuestionProps) {
  const ref = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => ref.current?.focus(), []);
  return (
    <>
      <p class="grow" role="alert">
        {text}
      </p>
      <button ref={ref} type="button" class="button" onClick={onKeep}>
        Keep editing
      </button>
      <button type="button" class="button danger" onClick={onDiscard}>
        Discard
      </button>
    </>
  );
}

/** Whether the question is shown, and what it does. */
export function useDiscardQuestion() {
  const [then, setThen] = useState<{ readonly leave: () => void }>();
  // The element to focus again if the user keeps editing.
  const askedFromRef = useRef<Element | null>(null);
  const cancel = () => setThen(undefined);
  return {
    isAsked: then !== undefined,
    /** If the user agrees, `leave` discards the edits. */
    ask(leave: () => void) {
      if (then === undefined) askedFromRef.current = document.activeElement;
      setThen({ leave });
    },
    cancel,
    keep() {
      cancel();
      if (askedFromRef.current instanceof HTMLElement) askedFromRef.current.focus();
    },
    confirm() {
      cancel();
      then?.leave();
    },
  };
}
