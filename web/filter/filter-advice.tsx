/** Says below "No matches" why the filter may match nobody, and offers the filter that was probably meant. */
import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { Go } from '../address/route.js';
import type { Directory } from '../calls/directory.js';
import { readSampledUsers } from '../calls/sampled-users.js';
import { formatCount } from '../text/format.js';
import { type FilterHint, filterHints, hasTextSearch } from './filter-hint.js';
import { PathNames } from './searched-attributes.js';

export interface FilterAdviceProps {
  readonly directory: Directory;
  readonly filter: string;
  readonly go: Go;
}

interface Advice {
  readonly filter: string;
  readonly hints: readonly FilterHint[];
  readonly usersCount: number;
}

export function FilterAdvice({ directory, filter, go }: FilterAdviceProps) {
  const [advice, setAdvice] = useState<Advice>();
  useEffect(() => {
    const controller = new AbortController();
    readSampledUsers(directory, controller.signal).then(
      (users) => {
        if (controller.signal.aborted) return;
        setAdvice({ filter, hints: filterHints(filter, users), usersCount: users.length });
      },
      // The advice is optional.
      () => {},
    );
    return () => controller.abort();
  }, [directory, filter]);
  if (advice === undefined || advice.filter !== filter || advice.hints.length === 0) return null;
  return (
    <div class="advice" role="status">
      {advice.hints.map((hint) => (
        <Hint key={hint.problem} hint={hint} go={go} />
      ))}
      {hasTextSearch(filter) && (
        <p class="soft">
          The page knows only the attributes of a sample of {formatCount(advice.usersCount)} users. In a list, it finds
          only whole items.
        </p>
      )}
    </div>
  );
}

function Hint({ hint, go }: { hint: FilterHint; go: Go }) {
  if (hint.problem === 'unsearched') {
    return (
      <p class="soft">
        Not searched: <PathNames paths={hint.paths} />.{' '}
        <button type="button" class="text-button" onClick={() => go({ filter: hint.rest })}>
          Search {hint.paths.length === 1 ? 'this attribute' : 'these attributes'}
        </button>
      </p>
    );
  }
  const { problem, meant } = hint;
  const suggestion = (mark: string) =>
    meant && (
      <Ending mark={mark}>
        <button type="button" class="text-button" onClick={() => go({ filter: meant.filter })}>
          {problem === 'type' ? <code>{meant.text}</code> : <bdi>“{meant.text}”</bdi>}
        </button>
      </Ending>
    );
  if (problem === 'attribute') {
    return (
      <p class="soft">
        No user in the sample has the attribute “<bdi>{hint.written}</bdi>”.
        {meant && <> Did you mean {suggestion('?')}</>}
      </p>
    );
  }
  if (problem === 'type') {
    return (
      <p class="soft">
        The attribute “<bdi>{hint.written}</bdi>” is {hint.type}.{meant && <> Did you mean {suggestion('?')}</>}
      </p>
    );
  }
  const { differences, isWhole, search } = hint;
  return (
    <p class="soft">
      {problem === 'name' ? 'A filter by name' : 'The search in attributes'} distinguishes {differences}
      {isWhole && ', and “is” compares the whole name'}
      {meant === undefined ? '.' : <>: try {suggestion('.')}</>}
      {search && (
        <>
          {' '}
          The search by name or email does not: search for{' '}
          <Ending mark=".">
            <button type="button" class="text-button" onClick={() => go(search)}>
              <bdi>“{search.query}”</bdi>
            </button>
          </Ending>
        </>
      )}
    </p>
  );
}

/** Keeps the mark at the end of a sentence on the line of the button before it. */
function Ending({ mark, children }: { mark: string; children: ComponentChildren }) {
  return (
    <span class="ending">
      {children}
      {mark}
    </span>
  );
}
