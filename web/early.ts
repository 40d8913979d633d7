/**
 * Runs before the page is first drawn, so it is small and imports nothing. Sets the stored theme, because another one
 * would flash, says so if the page's script cannot be loaded, and loads the browser's formats of dates.
 */
{
  try {
    // As theme.ts stores it.
    const theme = localStorage.getItem('roster-theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch {
    // The browser does not let the page store anything.
  }
  const onError = ({ target }: Event) => {
    if (!(target instanceof HTMLScriptElement)) return;
    const status = document.getElementById('shell-status');
    if (status === null) return;
    status.textContent = 'Cannot load the page. Check your connection, and reload it.';
    status.className = 'notice danger problem';
  };
  // Errors of elements do not bubble.
  addEventListener('error', onError, true);
  // The first formatter takes Chromium 20 ms, and more after its start, which would delay the first rows. After the shell
  // is painted, the browser usually still waits for the page's script.
  requestAnimationFrame(() =>
    setTimeout(() => new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' })),
  );
}
