/** Says below "No matches" why the filter may match nobody, and offers the filter that was probably meant. */
import { useEffect, useState } from 'preact/hooks';
import type { Go } from '../address/route.js';
import type { Directory } from '../calls/directory.js';
import { readSampledUsers } from '../calls/sampled-users.js';
import { type FilterHint, filterHint } from './filter-hint.js';

export interface FilterAdviceProps {
  readonly directory: Directory;
  readonly filter: string;
  readonly go: Go;
}

interface Advice {
  readonly filter: string;
  readonly hint: FilterHint | undefined;
}

export function FilterAdvice({ directory, filter, go }: FilterAdviceProps) {
  const [advice, setAdvice] = useState<Advice>();
  useEffect(() => {
    const controller = new AbortController();
    readSampledUsers(directory, controller.signal).then(
      (users) => {
        if (!controller.signal.aborted) setAdvice({ filter, hint: filterHint(filter, users) });
      },
      // The advice is optional.
      () => {},
    );
    return () => controller.abort();
  }, [directory, filter]);
  if (advice?.hint === undefined || advice.filter !== filter) return null;
  const { problem, written, type, meant } = advice.hint;
  const suggestion = meant && (
    <button type="button" class="text-button" onClick={() => go({ filter: meant.filter })}>
      {problem === 'type' ? (
        <code>{meant.text}</code>
      ) : (
        <>
          “<bdi>{meant.text}</bdi>”
        </>
      )}
    </button>
  );
  return (
    <p class="soft" role="status">
      {problem === 'attribute' ? (
        <>
          No user in the sample has the attribute “<bdi>{written}</bdi>”.
          {suggestion && <> Did you mean {suggestion}?</>}
        </>
      ) : problem === 'type' ? (
        <>
          The attribute “<bdi>{written}</bdi>” is {type}.{suggestion && <> Did you mean {suggestion}?</>}
        </>
      ) : (
        <>The search in attributes distinguishes accents{suggestion && <>: try {suggestion}</>}.</>
      )}
    </p>
  );
}
