/** Reads the files of a certificate again from time to time, so that a renewed certificate needs no restart. */
import { readTls, type TlsFiles } from './tls.js';

type Tls = Awaited<ReturnType<typeof readTls>>;

const intervalMsDefault = 60_000;

export interface ReloadOptions {
  /** Called with the new files. May throw, for example if only one of two files has been replaced yet. */
  onChange(tls: Tls): void;
  /** Called if files cannot be read or used. They are read again after the next interval. */
  onError(error: unknown): void;
  readonly intervalMs?: number;
}

/** `used` are the files' contents at the start. Returns a function that ends the watch. */
export function watchTls(files: TlsFiles, used: Tls, { onChange, onError, intervalMs }: ReloadOptions): () => void {
  let current = used;
  const check = async () => {
    try {
      const read = await readTls(files);
      if (isEqual(read, current)) return;
      onChange(read);
      current = read;
    } catch (error) {
      onError(error);
    }
  };
  const timer = setInterval(check, intervalMs ?? intervalMsDefault).unref();
  return () => clearInterval(timer);
}

function isEqual(one: Tls, other: Tls): boolean {
  const isSame = (a: Buffer | undefined, b: Buffer | undefined) => a === b || (a && b ? a.equals(b) : false);
  return isSame(one.cert, other.cert) && isSame(one.key, other.key) && isSame(one.clientCa, other.clientCa);
}
