/** Keeps somebody on the page while leaving it, or going back in it, would lose something. */
import { useEffect, useRef } from 'preact/hooks';

/** The browser itself asks whoever closes or reloads the page; `onBack` hears of the way back that was not gone. */
export function useStay(isNeeded: boolean, onBack: () => void): void {
  const hear = useRef(onBack);
  hear.current = onBack;
  useEffect(() => {
    if (!isNeeded) return;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    const stay = (event: NavigateEvent) => {
      if (!event.cancelable || event.navigationType !== 'traverse') return;
      event.preventDefault();
      hear.current();
    };
    window.addEventListener('beforeunload', ask);
    window.navigation?.addEventListener('navigate', stay);
    return () => {
      window.removeEventListener('beforeunload', ask);
      window.navigation?.removeEventListener('navigate', stay);
    };
  }, [isNeeded]);
}
