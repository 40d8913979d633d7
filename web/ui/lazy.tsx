/**
 * Components whose code the page loads when it first shows them. Until then they show that they are loading. If the code
 * cannot be loaded, they say why and offer to try again or to reload the page.
 *
 * Use `lazyDialog` for a dialog, `lazyPanel` for a panel, `lazyPopup` for the content of a popup, and `lazyView` for a part of
 * the page. `lazy` is for other shapes.
 */
import type { ComponentChildren, FunctionComponent } from 'preact';
import { useLayoutEffect, useState } from 'preact/hooks';
import { loadPart, PartError } from '../calls/load-part.js';
import { Dialog } from './dialog.js';
import { Panel } from './panel.js';

export interface Lazy<Props> extends FunctionComponent<Props> {
  /** Loads the code before it is needed. Ignores failures, because showing the component reports them. */
  preload(): Promise<void>;
}

export interface Pending {
  /** Why the code could not be loaded; undefined while it is loading. */
  readonly failure: PartError | undefined;
  retry(): void;
}

type Loader<Props> = () => Promise<FunctionComponent<Props>>;

// Loading usually takes less, and then the user sees only the component.
const quietMs = 200;

/** `load` is like `async () => (await import(…)).ExportDialog`. */
export function lazy<Props extends object>(
  load: Loader<Props>,
  showPending: (pending: Pending, props: Props) => ComponentChildren,
): Lazy<Props> {
  let Loaded: FunctionComponent<Props> | undefined;
  let loading: Promise<void> | undefined;
  const start = () => {
    loading ??= loadPart(load)
      .then((component) => {
        Loaded = component;
      })
      .finally(() => {
        loading = undefined;
      });
    return loading;
  };

  function LazyComponent(props: Props) {
    const [, redraw] = useState(0);
    const [failure, setFailure] = useState<PartError>();
    const [tries, setTries] = useState(0);
    const [isQuiet, setQuiet] = useState(true);
    // Not an effect that waits for a frame: the code could arrive before it, and then nothing would draw the component.
    useLayoutEffect(() => {
      if (Loaded !== undefined) return;
      let isUnmounted = false;
      const timer = setTimeout(() => setQuiet(false), quietMs);
      start().then(
        () => {
          if (!isUnmounted) redraw((before) => before + 1);
        },
        (error: unknown) => {
          if (!isUnmounted && error instanceof PartError) setFailure(error);
        },
      );
      return () => {
        isUnmounted = true;
        clearTimeout(timer);
      };
    }, [tries]);
    if (Loaded !== undefined) return <Loaded {...props} />;
    if (isQuiet && failure === undefined) return null;
    const retry = () => {
      setFailure(undefined);
      setTries(tries + 1);
    };
    return <>{showPending({ failure, retry }, props)}</>;
  }

  return Object.assign(LazyComponent, {
    preload: () => (Loaded === undefined ? start().catch(() => {}) : Promise.resolve()),
  });
}

/** A dialog with this title until the code is there. */
export function lazyDialog<Props extends { onClose(): void }>(title: string, load: Loader<Props>): Lazy<Props> {
  return lazy(load, ({ failure, retry }, { onClose }) => (
    <Dialog
      title={title}
      onClose={onClose}
      footer={failure === undefined ? undefined : <PendingButton failure={failure} retry={retry} />}
    >
      <PendingText failure={failure} />
    </Dialog>
  ));
}

/** A panel with this title until the code is there. */
export function lazyPanel<Props extends { onClose(): void }>(title: string, load: Loader<Props>): Lazy<Props> {
  return lazy(load, ({ failure, retry }, { onClose }) => (
    <Panel
      title={title}
      onClose={onClose}
      footer={failure === undefined ? undefined : <PendingButton failure={failure} retry={retry} />}
    >
      <PendingText failure={failure} />
    </Panel>
  ));
}

/** The content of a popup. */
export function lazyPopup<Props extends object>(load: Loader<Props>): Lazy<Props> {
  return lazy(load, ({ failure, retry }) => (
    <>
      <PendingText failure={failure} />
      {failure !== undefined && <PendingButton failure={failure} retry={retry} />}
    </>
  ));
}

/** A part of the page. `name` is its accessible name until the code is there. */
export function lazyView<Props extends object>(name: string, load: Loader<Props>): Lazy<Props> {
  return lazy(load, ({ failure, retry }) => (
    <main class="pending-view" aria-label={name}>
      <PendingText failure={failure} />
      {failure !== undefined && <PendingButton failure={failure} retry={retry} />}
    </main>
  ));
}

export function PendingText({ failure }: { failure: PartError | undefined }) {
  return failure === undefined ? (
    <p class="line soft" role="status">
      <span class="spinner" aria-hidden="true" />
      Loading…
    </p>
  ) : (
    <p role="alert">{failure.message}</p>
  );
}

export function PendingButton({ failure, retry }: { failure: PartError; retry(): void }) {
  return failure.needsReload ? (
    <button type="button" class="button primary" onClick={() => location.reload()}>
      Reload the page
    </button>
  ) : (
    <button type="button" class="button primary" onClick={retry}>
      Try again
    </button>
  );
}
