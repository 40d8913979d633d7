/** The theme, light or dark. It is the system's until the user chooses one, which the browser stores. */
import { useEffect, useState } from 'preact/hooks';

export type Theme = 'light' | 'dark';

const key = 'roster-theme';

export function useTheme(): readonly [Theme, (theme: Theme) => void] {
  const [chosen, choose] = useState(readChoice);
  const isDark = useMedia('(prefers-color-scheme: dark)');
  useEffect(() => {
    if (chosen === undefined) delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
  }, [chosen]);
  const set = (theme: Theme) => {
    choose(theme);
    try {
      localStorage.setItem(key, theme);
    } catch {
      // If the browser cannot store the choice, it lasts until the page is closed.
    }
  };
  return [chosen ?? (isDark ? 'dark' : 'light'), set];
}

function readChoice(): Theme | undefined {
  try {
    const stored = localStorage.getItem(key);
    return stored === 'light' || stored === 'dark' ? stored : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a media query matches. Renders again if that changes. */
export function useMedia(query: string): boolean {
  const [isMatch, setMatch] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const read = () => setMatch(list.matches);
    read();
    list.addEventListener('change', read);
    return () => list.removeEventListener('change', read);
  }, [query]);
  return isMatch;
}
