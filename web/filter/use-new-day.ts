/** Notices that a new day has begun, because filters may contain days that move with the calendar. */
import { useEffect } from 'preact/hooks';
import { mayMove } from '../calls/sent-filter.js';
import { dayOf } from '../text/days.js';

/** A timer until midnight would be late after the computer has slept. */
const checkMs = 60_000;

/** Calls `onNewDay` if the day changes while the filter depends on it. */
export function useNewDay(filter: string, onNewDay: () => void): void {
  useEffect(() => {
    if (!mayMove(filter)) return;
    let day = dayOf(new Date());
    const check = () => {
      const now = dayOf(new Date());
      if (now === day) return;
      day = now;
      onNewDay();
    };
    const timer = setInterval(check, checkMs);
    document.addEventListener('visibilitychange', check);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', check);
    };
  }, [filter]);
}
