/** Loads a part of the page's code when it is needed, and says in plain words why that failed. */
import { CallError } from './call-error.js';

export class PartError extends Error {
  override readonly name = 'PartError';
  /** Whether a new version of the page may have replaced the file, so that only a reload can help. */
  readonly needsReload: boolean;

  constructor(message: string, { needsReload }: { needsReload: boolean }) {
    super(message);
    this.needsReload = needsReload;
  }
}

// The question below is small, and the user waits for its answer.
const checkMsMax = 5_000;

/** Awaits an `import()`. Rejects with a PartError only. */
export async function loadPart<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (error) {
    // For developers: browsers do not tell the page why a file cannot be loaded.
    console.warn(error);
    throw await explain();
  }
}

/** Awaits an `import()` that a call needs. Rejects only with a CallError. */
export async function loadForCall<T>(load: () => Promise<T>): Promise<T> {
  try {
    return await loadPart(load);
  } catch (error) {
    // A later try cannot help after an update of the server.
    const isFinal = error instanceof PartError && error.needsReload;
    throw new CallError(isFinal ? 'FAILED_PRECONDITION' : 'UNAVAILABLE', error instanceof Error ? error.message : '');
  }
}

/** If the server answers, the file is missing there: its name contains a hash, and a newer version has other names. */
async function explain(): Promise<PartError> {
  const signal = AbortSignal.timeout(checkMsMax);
  const response = await fetch(location.pathname, { method: 'HEAD', cache: 'no-store', signal }).catch(() => undefined);
  return response !== undefined && response.status < 500
    ? new PartError('Roster was probably updated after you opened this page. Reload the page to continue.', {
        needsReload: true,
      })
    : new PartError('Cannot load this part of the page, because the server cannot be reached.', { needsReload: false });
}
