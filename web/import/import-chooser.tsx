/** The first step of an import: the user chooses a file, and sees why the previous one could not be read. */
import { useId, useState } from 'preact/hooks';
import { EncodingSelect } from './encoding-select.js';

export interface ChooseProblem {
  readonly text: string;
  /** The file and the encoding that were tried, if another encoding may help. */
  readonly retry?: { readonly file: File; readonly encoding: string } | undefined;
}

export interface ImportChooserProps {
  readonly problem: ChooseProblem | undefined;
  onChoose(file: File | undefined, encoding?: string): void;
  onTemplate(): void;
}

export function ImportChooser({ problem, onChoose, onTemplate }: ImportChooserProps) {
  const id = useId();
  const [isOver, setOver] = useState(false);
  return (
    <>
      <p class="notice danger" role="alert">
        {problem?.text}
      </p>
      {problem?.retry === undefined ? null : (
        <EncodingSelect
          encoding={problem.retry.encoding}
          found={undefined}
          onChange={(encoding) => onChoose(problem.retry?.file, encoding)}
        />
      )}
      {/* biome-ignore lint/a11y/noStaticElementInteractions: dropping a file is a shortcut to the field inside */}
      <div
        class={isOver ? 'drop over' : 'drop'}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          onChoose(event.dataTransfer?.files[0]);
        }}
      >
        <label for={id}>CSV file</label>
        <input
          id={id}
          type="file"
          accept=".csv,.tsv,.txt,text/csv"
          data-focus
          data-first
          aria-describedby={`${id}-hint`}
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            // Otherwise a browser sends no event if the same file is chosen again after a correction.
            event.currentTarget.value = '';
            onChoose(file);
          }}
        />
        <p class="hint" id={`${id}-hint`}>
          Choose a file or drop it here. Its first line names the columns, such as First name, Surname, E-mail or
          Department. You choose the meaning of each column before the import.
        </p>
      </div>
      <p class="line wrap">
        <span class="grow soft">No file yet? A template has the right columns and an example row.</span>
        <button type="button" class="button" onClick={onTemplate}>
          Download a template
        </button>
      </p>
    </>
  );
}
