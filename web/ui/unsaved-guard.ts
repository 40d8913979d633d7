/** Prevents the user from losing changes by leaving the page, by going back in it, or by opening another address in it. */
import { useLayoutEffect, useRef } from 'preact/hooks';

export interface UnsavedGuardOptions {
  /** Called after a blocked step back, or after a blocked address, which `open` opens nevertheless. */
  onLeave(open: (() => void) | undefined): void;
  /** Whether nothing is lost if the page opens this hash. */
  staysOpenAt?(hash: string): boolean;
}

/** The browser asks for confirmation before it closes or reloads the page. */
export function useUnsavedGuard(isNeeded: boolean, options: UnsavedGuardOptions): void {
  const latest = useRef(options);
  latest.current = options;
  useLayoutEffect(() => {
    if (!isNeeded) return;
    let allowed: string | undefined;
    const onUnload = (event: BeforeUnloadEvent) => event.preventDefault();
    const onNavigate = (event: NavigateEvent) => {
      const { url } = event.destination;
      const isBack = event.navigationType === 'traverse';
      // The page itself changes the address without this kind of event.
      if (!event.cancelable || url === allowed || !(isBack || event.hashChange)) return;
      if (!isBack && latest.current.staysOpenAt?.(new URL(url).hash)) return;
      event.preventDefault();
      const open = () => {
        allowed = url;
        location.assign(url);
      };
      latest.current.onLeave(isBack ? undefined : open);
    };
    window.addEventListener('beforeunload', onUnload);
    window.navigation?.addEventListener('navigate', onNavigate);
    return () => {
      window.removeEventListener('beforeunload', onUnload);
      window.navigation?.removeEventListener('navigate', onNavigate);
    };
  }, [isNeeded]);
}
