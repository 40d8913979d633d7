/** Prevents the user from losing changes by leaving the page or by going back in it. */
import { useEffect, useRef } from 'preact/hooks';

/**
 * The browser asks for confirmation before it closes or reloads the page. `onBack` is called after a blocked step back.
 */
export function useUnsavedGuard(isNeeded: boolean, onBack: () => void): void {
  const handler = useRef(onBack);
  handler.current = onBack;
  useEffect(() => {
    if (!isNeeded) return;
    const onUnload = (event: BeforeUnloadEvent) => event.preventDefault();
    const onNavigate = (event: NavigateEvent) => {
      if (!event.cancelable || event.navigationType !== 'traverse') return;
      event.preventDefault();
      handler.current();
    };
    window.addEventListener('beforeunload', onUnload);
    window.navigation?.addEventListener('navigate', onNavigate);
    return () => {
      window.removeEventListener('beforeunload', onUnload);
      window.navigation?.removeEventListener('navigate', onNavigate);
    };
  }, [isNeeded]);
}
