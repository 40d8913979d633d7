/** The button that stops a long action. */

export interface StopButtonProps {
  readonly isStopping: boolean;
  onStop(): void;
}

/** It is at the start of a footer, so that a double click does not continue: the report has that button at the end. */
export function StopButton({ isStopping, onStop }: StopButtonProps) {
  return (
    <button type="button" class="button start" aria-disabled={isStopping} onClick={onStop}>
      {isStopping ? 'Stopping…' : 'Stop'}
    </button>
  );
}
